//! Words in, phonemes out: the metadata beside an archive, and greedy decoding with its models.
//!
//! ```no_run
//! use charsiug2p_g2p_core::Language;
//! use charsiug2p_g2p_pipeline::{ArtifactResolver, Session};
//! let found = ArtifactResolver::new().resolve()?;
//! let mut session = Session::from_metadata(&found.metadata)?;
//! let english = Language::new("eng-us", found.metadata.languages.as_deref())?;
//! let prompt = session.config().prompt_format().prompt(&english, "Char")?;
//! println!("{}", session.run_all(&[prompt])?[0].text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod decoder;
mod error;
mod greedy;
mod grouping;
mod metadata;
mod resolver;
mod session;

pub use config::{CacheDtype, ConfigError, ModelConfig, Precision};
pub use error::PipelineError;
pub use grouping::group_by_length;
pub use metadata::SystemLibMetadata;
pub use resolver::{ArtifactResolver, ResolveError, Resolved, METADATA_FILE};
pub use session::{BatchResult, ProbeOptions, Session, Timings, WordOutput};
