#![doc = include_str!("../README.md")]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod failure;
mod logits;
mod records;
mod sampling;
mod workload;

pub use failure::{Failure, FailureKind};
pub use logits::{divergence, log_probability, margin, top_two};
pub use records::{nanoseconds, Ended, Measured, Output, Probed, TensorsRecord};
pub use sampling::{BadLogits, Sampler, SamplingOptions};
pub use workload::{Load, OnLoad, Order, Planned, ProbeOptions, Workload};
