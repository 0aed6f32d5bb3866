//! A run's items inside the app, by the code that runs them on a device under test.

use std::path::Path;
use std::thread;

use device_runner::Linked;

use crate::error::MobileError;
use crate::guard::caught;
use crate::metadata::Metadata;

/// What came of a self-test. The answers are in its file, which `harness selftest read` compares.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SelfTest {
    /// Orders that were run or refused.
    pub orders: u32,
    /// Samples that were taken.
    pub samples: u64,
    /// Why orders did not run to their end, one line per order; empty if all did.
    pub failures: Vec<String>,
}

/// Runs the orders on a thread of its own: a thread of the app's may have a small stack.
pub(crate) fn self_test(
    metadata: &Metadata,
    orders: &str,
    out: &str,
) -> Result<SelfTest, MobileError> {
    if orders.trim().is_empty() {
        return Err(not_tested("there are no orders; `harness selftest orders` writes them"));
    }
    let features = metadata.cpu_features.join(",");
    // Archives for apps are not instrumented, so nothing is looked for behind a prefix.
    let linked = Linked {
        archive_sha256: &metadata.versions.archive_sha256,
        prefix: None,
        cpu_features: &features,
        app: cfg!(target_os = "ios"),
    };
    let run = || caught(|| run(&linked, orders, out));
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("self-test".to_owned());
        let started = builder.spawn_scoped(scope, run).map_err(|error| {
            let message = format!("a thread for the self-test: {error}");
            MobileError::OutOfMemory { message }
        })?;
        started.join().unwrap_or_else(|_| Err(not_tested("its thread ended")))
    })
}

fn run(linked: &Linked<'_>, orders: &str, out: &str) -> Result<SelfTest, MobileError> {
    let tested = device_runner::self_test(linked, orders, Path::new(out))
        .map_err(|error| not_tested(&format!("{out}: {error}")))?;
    Ok(SelfTest {
        orders: tested.orders as u32,
        samples: tested.samples as u64,
        failures: tested.failures,
    })
}

fn not_tested(message: &str) -> MobileError {
    MobileError::NotTested { message: message.to_owned() }
}
