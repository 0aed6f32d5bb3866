//! One order from its file to its end record.

use std::fs;
use std::io;
use std::path::Path;

use charsiug2p_g2p_tvm::{ensure_linked, set_num_threads};
use charsiug2p_workload::Failure;

use crate::guard;
use crate::order::{self, Plan};
use crate::result_file::ResultFile;
use crate::run;
use crate::status::{FAILED, OK};
use crate::thermal::Thermal;
use crate::{cpu, Linked};

/// An order that was read, and the result it will be answered in.
pub struct Job {
    linked: Linked<'static>,
    result: ResultFile,
    order_id: String,
    plan: Result<Plan, Failure>,
}

// An app on iOS runs it on a thread of its own; here, so that every system's build finds what cannot move there.
const fn sendable<T: Send>() {}
const _: () = sendable::<Job>();

impl Job {
    /// Creates the result, reads and checks the order, and sets the number of its threads. What is wrong with the order
    /// is written to the result.
    pub fn prepare(
        linked: &Linked<'static>,
        order_path: &Path,
        result_path: &Path,
        stream: bool,
    ) -> io::Result<Self> {
        let mut result = ResultFile::create(result_path)?;
        if stream {
            result.stream_to_stdout();
        }
        let order = fs::read(order_path)
            .map_err(|error| Failure::io(format!("{}: {error}", order_path.display())));
        let order_id = order.as_deref().map(order::order_id_of).unwrap_or_default();
        let plan = guard::caught(|| {
            // The order's text is freed before anything is loaded: it holds every input tensor.
            let plan = order.and_then(|text| order::parse(&text))?.plan(linked.archive_sha256)?;
            cpu::require(&linked.needed())?;
            ensure_linked().map_err(|error| Failure::model(error.to_string()))?;
            set_num_threads(plan.threads).map_err(|error| Failure::model(error.to_string()))?;
            Ok(plan)
        });
        Ok(Self { linked: *linked, result, order_id, plan })
    }

    /// Runs the order and writes the end record; the process's exit status.
    pub fn run(mut self) -> u8 {
        let (linked, plan) = (self.linked, self.plan);
        let outcome = guard::guarded(&self.order_id, &mut self.result, |result| {
            run::run(plan?, &linked, &mut Thermal::of_this_device(linked.app), result)
        });
        match outcome {
            Ok(()) => OK,
            Err(failure) => {
                eprintln!("error: {}", failure.message);
                FAILED
            }
        }
    }
}
