//! From a workload in an order to a model that is ready to run.

use std::time::Duration;

use crate::failure::Failure;
use crate::records::{Measured, Probed};

/// A workload of some kind, as an order describes it.
pub trait Order {
    /// What an order gives as an item's `input`.
    type Input;

    /// The name by which items refer to the workload.
    fn name(&self) -> &str;

    /// Checks the workload and its items, which are ids and inputs, before anything is loaded.
    ///
    /// # Errors
    /// [`Failure`] of the kind usage. The runner adds the workload's name to the message, unless it is of an item.
    fn plan(self, items: Vec<(String, Self::Input)>) -> Result<Planned, Failure>;
}

/// A checked workload with its items. It can be moved to the thread that will run it.
pub struct Planned {
    /// How many calls a pass makes.
    pub calls: usize,
    /// What the prefix of the model's instruments begins with; none: the archive's own prefix.
    pub prefix: Option<String>,
    /// Takes the model from the program.
    pub load: Load,
}

/// Loads a model. The runner adds the workload's name to the message of a failure, unless it is of an item.
pub type Load = Box<dyn FnOnce(OnLoad<'_>) -> Result<Box<dyn Workload>, Failure> + Send>;

/// Is called with the name of each function that was loaded, and how long that took.
pub type OnLoad<'a> = &'a mut dyn FnMut(&'static str, Duration);

/// A loaded model and the calls of it that a pass makes. A call runs one item, or a batch of items.
pub trait Workload {
    /// The ids of the items that a call runs.
    fn items(&self, call: usize) -> &[String];

    /// Makes a call, measured.
    ///
    /// # Errors
    /// [`Failure`] of the kinds model and answer.
    fn run(&mut self, call: usize) -> Result<Measured, Failure>;

    /// Makes a call that is not timed, and records more of it.
    ///
    /// # Errors
    /// [`Failure`] of the kinds model and answer.
    fn probe(&mut self, call: usize, options: &ProbeOptions) -> Result<Probed, Failure>;
}

/// What to keep of the logits besides the tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeOptions {
    /// Best minus second-best logit of every step.
    pub margins: bool,
    /// Steps whose logits are kept whole; steps an output does not reach are left out.
    pub logit_steps: Vec<usize>,
}
