//! How many threads kernels are computed on.

use super::call::{call, global, RawArgument, Returned};
use crate::error::TvmError;

/// Sets it for all kernels of the process, from the next one on; 1 unless it is set. The threads are started when the
/// first kernel that is worth them runs.
///
/// Call it first in `main` if the program is linked with a TVM runtime other than this project's: that one has a pool
/// whose size only an environment variable sets, read when it first runs something in parallel. (Its own
/// `runtime.config_threadpool` would also pin the calling thread to a core.)
///
/// # Errors
/// [`TvmError::Raised`] unless the number is from 1 to 64; with another runtime [`TvmError::ThreadsStarted`].
pub fn set_num_threads(threads: usize) -> Result<(), TvmError> {
    let Some(set) = global("harness.set_threads")? else { return limit_by_variable(threads) };
    let count = i64::try_from(threads).unwrap_or(i64::MAX);
    call(&set, &[RawArgument::Int(count)], &"setting the number of threads").map(drop)
}

/// How many threads kernels are computed on.
///
/// # Errors
/// [`TvmError::NotLinked`], or what TVM raises.
pub fn num_threads() -> Result<usize, TvmError> {
    let Some(get) = global("harness.threads")? else { return Ok(1) };
    match call(&get, &[], &"reading the number of threads")? {
        Returned::Int(threads) => Ok(usize::try_from(threads).unwrap_or(1)),
        _ => Ok(1),
    }
}

fn limit_by_variable(threads: usize) -> Result<(), TvmError> {
    let running = running_threads();
    if running > 1 {
        return Err(TvmError::ThreadsStarted { running });
    }
    // SAFETY: no other thread runs that could read the environment at the same time.
    unsafe { std::env::set_var("TVM_NUM_THREADS", threads.to_string()) };
    Ok(())
}

/// Threads of this process where the system reports them (Linux, Android), else 1: elsewhere the
/// caller's promise to call this first in `main` has to suffice.
///
/// `/proc/self/stat` rather than a count of `/proc/self/task`: an emulator of user programs (qemu) has
/// threads of its own there, and writes 0 here.
fn running_threads() -> usize {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    parse(&stat).unwrap_or(1).max(1)
}

/// `num_threads`, the 18th field behind the program's name, which may hold spaces and parentheses.
fn parse(stat: &str) -> Option<usize> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(17)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn other_threads_are_counted() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || receive.recv().is_err());
        // The test's own, the test program's first, and the other; tests beside this one add theirs.
        assert!(running_threads() >= 3);
        drop(send);
        assert!(other.join().unwrap());
    }

    #[test]
    fn names_with_parentheses_and_what_an_emulator_writes() {
        let fields = |threads: &str| {
            format!("7 (a) b (c) R 1 {} {threads} 0 99 {}", ["0"; 15].join(" "), "0 ".repeat(29))
        };
        assert_eq!(parse(&fields("3")), Some(3));
        assert_eq!(parse(&fields("0")), Some(0));
        assert_eq!(parse(""), None);
        assert_eq!(parse("7 (a) R 1"), None);
    }
}
