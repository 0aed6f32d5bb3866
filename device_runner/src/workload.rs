//! What an order runs, whatever kind of model it is: the loop in `run.rs` knows no more of a model than this.

use std::time::Duration;

use charsiug2p_g2p_pipeline::ProbeOptions;

use crate::failure::Failure;
use crate::records::Output;
use crate::slowdown::Slowdown;
use crate::tensors::TensorsRecord;

/// A loaded model and the calls of it that a pass makes. A call runs one item, or a batch of items.
pub trait Workload {
    /// The model's name in the order.
    fn name(&self) -> &str;

    /// The ids of the items that a call runs.
    fn items(&self, call: usize) -> &[String];

    /// Makes a call, measured.
    fn run(&mut self, call: usize, slowdown: Slowdown) -> Result<Measured, Failure>;

    /// Makes a call that is not timed, and records more of it.
    fn probe(&mut self, call: usize, options: &ProbeOptions) -> Result<Probed, Failure>;
}

/// One call with the parts of its time; a model has the parts that its kind has.
#[derive(Debug, Default)]
pub struct Measured {
    pub total: Duration,
    pub encoder: Duration,
    pub prefill: Option<Duration>,
    pub steps: Vec<Duration>,
    /// What was generated for each item.
    pub outputs: Vec<Output>,
    /// Of a model whose outputs only the probe writes.
    pub output_sha256: Option<String>,
}

/// What a call answered.
#[derive(Debug, Default)]
pub struct Probed {
    pub outputs: Vec<Output>,
    pub tensors: Option<TensorsRecord>,
}
