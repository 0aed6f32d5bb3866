//! A run inside a guard: whatever happens, the result gets its end record.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use charsiug2p_workload::{Failure, FailureKind};

use crate::records::{Record, Status};
use crate::result_file::ResultFile;

/// Runs the work and writes the end record; a panic becomes one of kind `panic`.
///
/// Returns as an error what ended the run, or what kept the end record from being written.
pub fn guarded(
    order_id: &str,
    result: &mut ResultFile,
    work: impl FnOnce(&mut ResultFile) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // After a panic only the count of samples is read, which every `write` leaves whole.
    let outcome = caught(|| work(result));
    let samples = result.samples();
    let status = if outcome.is_ok() { Status::Ok } else { Status::Error };
    let error = outcome.as_ref().err();
    let written = result.write(&Record::End { order_id, status, samples, error });
    outcome.and(written)
}

/// Does the work; a panic becomes a failure. What the work may leave half done is not to be used after one.
pub fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(Failure::new(FailureKind::Panic, message(&*payload))))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::*;

    fn fresh(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("device_runner-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        let _ = fs::remove_file(&path);
        path
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_panic_is_a_record_and_what_was_written_stays() {
        let path = fresh("panic.jsonl");
        let mut result = ResultFile::create(&path).unwrap();
        let outcome = guarded("o1", &mut result, |result| {
            result.write(&Record::Memory { peak_bytes: Some(1) })?;
            let nothing: Vec<usize> = Vec::new();
            let at = std::hint::black_box(3);
            Err(Failure::usage(nothing[at].to_string()))
        });
        assert_eq!(outcome.unwrap_err().kind, FailureKind::Panic);
        let records = lines(&path);
        assert_eq!(records.len(), 2);
        assert_eq!(records[0]["record"], "memory");
        let end = &records[1];
        assert_eq!((&end["record"], &end["status"]), (&"end".into(), &"error".into()));
        assert_eq!(end["order_id"], "o1");
        assert_eq!(end["error"]["kind"], "panic");
        let message = end["error"]["message"].as_str().unwrap();
        assert!(message.contains("out of bounds"), "{message}");
    }

    #[test]
    fn a_formatted_and_an_odd_panic_are_reported_too() {
        for (name, payload, expected) in [
            ("text", Box::new("plain") as Box<dyn Any + Send>, "plain"),
            ("string", Box::new("owned".to_owned()), "owned"),
            ("odd", Box::new(7), "a panic without a message"),
        ] {
            let path = fresh(name);
            let mut result = ResultFile::create(&path).unwrap();
            let outcome = guarded("o2", &mut result, |_| std::panic::resume_unwind(payload));
            assert_eq!(outcome.unwrap_err().message, expected);
            assert_eq!(lines(&path)[0]["error"]["message"], expected);
        }
    }

    #[test]
    fn success_and_errors_end_the_result_too() {
        let path = fresh("ok.jsonl");
        let mut result = ResultFile::create(&path).unwrap();
        guarded("o3", &mut result, |_| Ok(())).unwrap();
        let end = &lines(&path)[0];
        assert_eq!(end["status"], "ok");
        assert!(end["error"].is_null());

        let path = fresh("error.jsonl");
        let mut result = ResultFile::create(&path).unwrap();
        let failure = Failure::usage("bad").of_item("i7");
        guarded("o4", &mut result, |_| Err(failure)).unwrap_err();
        let end = &lines(&path)[0];
        assert_eq!(end["error"]["item"], "i7");
        assert_eq!(end["error"]["kind"], "usage");
    }

    /// /dev/full answers every write with "no space left on device".
    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_io_failure() {
        let path = fresh("full.jsonl");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        assert!(ResultFile::create(&path).is_err(), "an existing file is left alone");
        let mut result = ResultFile::full_for_tests().unwrap();
        let failure = guarded("o5", &mut result, |_| Ok(())).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Io);
        assert!(failure.message.contains("space"), "{}", failure.message);
    }
}
