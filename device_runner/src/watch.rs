//! A runner ends with the process that started it.
//!
//! That process holds the other end of its standard input and writes nothing. When that process ends, even by
//! SIGKILL, the system closes the end it held: on every system, whichever of its threads had started the runner.

use std::io::{self, Read};
use std::process;
use std::thread;

/// The variable that asks for this. Without it standard input is left alone, as for an order given by hand.
const VARIABLE: &str = "DEVICE_RUNNER_ENDS_WITH_STDIN";

/// From now on the process ends as soon as standard input does, if that was asked for.
///
/// To be called once the number of threads is set. The thread sleeps in the kernel, so it takes no time from a measurement.
pub fn end_with_stdin() -> io::Result<()> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    thread::Builder::new().name("watch".to_owned()).spawn(|| {
        wait_for_the_end(io::stdin());
        // Nobody is left to read an end record, and exit handlers would wait for a thread that is measuring.
        process::abort();
    })?;
    Ok(())
}

/// Returns once there is nothing to read any more; ignores what is read.
fn wait_for_the_end(mut input: impl Read) {
    let mut buffer = [0; 64];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some bytes, an interruption, and the end.
    struct Input(Vec<io::Result<usize>>);

    impl Read for Input {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0.pop().unwrap_or(Ok(0))
        }
    }

    #[test]
    fn only_the_end_and_a_broken_input_end_the_wait() {
        let interrupted = || Err(io::Error::from(io::ErrorKind::Interrupted));
        let mut input = Input(vec![Ok(0), Ok(64), interrupted(), Ok(1)]);
        wait_for_the_end(&mut input);
        assert!(input.0.is_empty());
        let mut broken = Input(vec![Ok(1), Err(io::Error::from(io::ErrorKind::BrokenPipe))]);
        wait_for_the_end(&mut broken);
        assert_eq!(broken.0.len(), 1, "nothing is read from an input that is broken");
    }
}
