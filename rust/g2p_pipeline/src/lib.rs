#![doc = include_str!("../README.md")]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod decoder;
mod error;
mod greedy;
mod grouping;
mod metadata;
mod outputs;
mod resolver;
mod session;
mod workload;

pub use charsiug2p_workload::{Output, ProbeOptions};
pub use config::{CacheDtype, ConfigError, ModelConfig, Precision};
pub use error::PipelineError;
pub use grouping::group_by_length;
pub use metadata::SystemLibMetadata;
pub use outputs::{BatchResult, Timings};
pub use resolver::{ArtifactResolver, ResolveError, Resolved, METADATA_FILE};
pub use session::Session;
pub use workload::GenerationOrder;
