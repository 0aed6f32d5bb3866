//! The one setting of TVM's that only an environment variable reaches.

use crate::error::TvmError;

/// Limits TVM's thread pool, which reads a variable when it first runs something in parallel.
///
/// Call it first thing in `main`. (The pool's own `runtime.config_threadpool` would also pin the
/// calling thread to a core.)
///
/// # Errors
/// [`TvmError::ThreadsStarted`].
pub fn set_num_threads(threads: usize) -> Result<(), TvmError> {
    let running = running_threads();
    if running > 1 {
        return Err(TvmError::ThreadsStarted { running });
    }
    // SAFETY: no other thread runs that could read the environment at the same time.
    unsafe { std::env::set_var("TVM_NUM_THREADS", threads.to_string()) };
    Ok(())
}

/// Threads of this process where the system tells (Linux, Android), else 1: elsewhere the caller's
/// promise to call this first thing in `main` has to do.
fn running_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.flatten().count().max(1))
}
