//! Orders that are run inside a user's app: no command line, no process of their own, and no end of the process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use charsiug2p_g2p_tvm::{num_threads, set_num_threads, TvmError};
use charsiug2p_workload::Failure;

use crate::guard;
use crate::order;
use crate::result_file::ResultFile;
use crate::run;
use crate::thermal::Thermal;
use crate::{cpu, Linked};

/// What came of a file of orders.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SelfTested {
    /// Orders that were run or refused.
    pub orders: usize,
    /// Samples of all orders.
    pub samples: usize,
    /// Why orders did not run to their end, one line per order. Their end records have it, too.
    pub failures: Vec<String>,
}

/// One test at a time: two at once would disturb each other's times.
static RUNNING: Mutex<()> = Mutex::new(());

/// Runs each order of a text with an order a line, and writes the records of all of them to one file, one order after
/// the other, as the device runner writes each.
///
/// The file appears when all of it is written, and replaces an older one. Until then a file beside it grows, whose name
/// ends in `.partial`: it is what a crash leaves.
///
/// # Errors
/// The file cannot be written. What is wrong with an order is in its end record.
pub fn self_test(linked: &Linked<'_>, orders: &str, out: &Path) -> io::Result<SelfTested> {
    let _alone = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let partial = beside(out);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut result = ResultFile::create(&partial)?;
    let mut tested = SelfTested::default();
    for order in orders.lines().filter(|line| !line.trim().is_empty()) {
        result.begin_order();
        let outcome =
            guard::guarded(&order::order_id_of(order.as_bytes()), &mut result, |result| {
                run_order(linked, order.as_bytes(), result)
            });
        tested.orders += 1;
        tested.samples += result.samples();
        tested.failures.extend(outcome.err().map(|failure| failure.message));
    }
    drop(result);
    fs::rename(&partial, out)?;
    Ok(tested)
}

fn run_order(linked: &Linked<'_>, order: &[u8], result: &mut ResultFile) -> Result<(), Failure> {
    let plan = order::parse(order)?.plan(linked.archive_sha256)?;
    cpu::require(&linked.needed())?;
    let _usual = Threads::set(plan.threads)?;
    run::run(plan, linked, &mut Thermal::of_this_device(linked.app), result)
}

/// The threads of an order, as long as it runs.
struct Threads {
    usual: usize,
}

impl Threads {
    fn set(threads: usize) -> Result<Self, Failure> {
        let failed = |error: TvmError| Failure::model(error.to_string());
        let usual = num_threads().map_err(failed)?;
        if threads != usual {
            set_num_threads(threads).map_err(failed)?;
        }
        Ok(Self { usual })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // It was set to this number before, so that it can be set to it again.
        let _ = set_num_threads(self.usual);
    }
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const LINKED: Linked<'static> =
        Linked { archive_sha256: "a", prefix: None, cpu_features: "", app: false };

    fn tested(name: &str, orders: &str) -> (SelfTested, Vec<Value>) {
        let out = std::env::temp_dir().join(format!("self-test-{}-{name}", std::process::id()));
        fs::write(beside(&out), "what a crash left").unwrap();
        fs::write(&out, "older").unwrap();
        let tested = self_test(&LINKED, orders, &out).unwrap();
        let text = fs::read_to_string(&out).unwrap();
        fs::remove_file(&out).unwrap();
        assert!(!beside(&out).exists());
        (tested, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[test]
    fn every_order_has_an_end_and_one_that_is_refused_stops_no_other() {
        let other = r#"{"order_id":"o1","archive_sha256":"b","workloads":[],"items":[]}"#;
        let threads = concat!(
            r#"{"order_id":"o3","archive_sha256":"a","threads":65,"workloads":[{"kind":"tensor","name":"m","#,
            r#""functions":{"main":"m_"},"inputs":[],"outputs":["y"]}],"items":[]}"#
        );
        let (tested, records) = tested("refused", &format!("{other}\n\nno order\n{threads}\n"));
        assert_eq!((tested.orders, tested.samples), (3, 0));
        let ends: Vec<_> = records.iter().map(|end| end["order_id"].as_str().unwrap()).collect();
        assert_eq!(ends, ["o1", "", "o3"]);
        assert!(records.iter().all(|end| end["record"] == "end" && end["status"] == "error"));
        for (reason, part) in tested.failures.iter().zip(["archive", "the order:", "1 to 64"]) {
            assert!(reason.contains(part), "{reason}");
        }
        assert_eq!(tested.failures.len(), 3);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let out = std::env::temp_dir().join("no such folder").join("out");
        assert!(self_test(&LINKED, "", &out).is_err());
    }
}
