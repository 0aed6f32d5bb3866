//! What an order runs, whatever kind of model it is: the loop in `run.rs` uses no more of a model than this.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use charsiug2p_g2p_pipeline::ProbeOptions;

use crate::failure::Failure;
use crate::instruments::Instruments;
use crate::records::Output;
use crate::result_file::ResultFile;
use crate::slowdown::Slowdown;
use crate::tensors::TensorsRecord;
use crate::Linked;

/// A workload of a checked order, with its items, before anything is loaded.
pub trait Planned: fmt::Debug + Send {
    /// How many calls a pass makes.
    fn calls(&self) -> usize;

    /// Takes the model from the program, and records how long each of its functions took.
    fn load(self: Box<Self>, linked: &Linked, result: &mut ResultFile) -> Result<Loaded, Failure>;
}

/// A workload that is ready to run.
pub struct Loaded {
    pub workload: Box<dyn Workload>,
    /// Where the archive was built for profiles.
    pub instruments: Option<Instruments>,
}

/// A loaded model and the calls of it that a pass makes. A call runs one item, or a batch of items.
pub trait Workload {
    /// The workload's name in the order.
    fn name(&self) -> &str;

    /// The ids of the items that a call runs.
    fn items(&self, call: usize) -> &[String];

    /// Makes a call, measured.
    fn run(&mut self, call: usize, slowdown: Slowdown) -> Result<Measured, Failure>;

    /// Makes a call that is not timed, and records more of it.
    fn probe(&mut self, call: usize, options: &ProbeOptions) -> Result<Probed, Failure>;
}

/// One call of a workload with the parts of its time.
#[derive(Debug, Default)]
pub struct Measured {
    pub total: Duration,
    /// The calls inside, in their order, by what they are calls of.
    pub parts: BTreeMap<&'static str, Vec<Duration>>,
    /// What was generated for each item.
    pub outputs: Vec<Output>,
    /// Of a workload whose outputs only the probe writes.
    pub output_sha256: Option<String>,
}

/// What a call answered.
#[derive(Debug, Default)]
pub struct Probed {
    pub outputs: Vec<Output>,
    pub tensors: Option<TensorsRecord>,
}
