//! Finding the metadata of the linked archive.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use charsiug2p_g2p_tvm::{compiled_system_lib_dir, SystemLibPrefixes, TvmError};
use thiserror::Error;

use crate::metadata::SystemLibMetadata;

/// Name of the metadata file.
pub const METADATA_FILE: &str = "system_lib_metadata.json";

/// Why there is no usable metadata.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// None of the places has the file.
    #[error("no {METADATA_FILE} found; tried:{}", list(tried))]
    NotFound {
        /// Every path tried.
        tried: Vec<PathBuf>,
    },
    /// A file that is there cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that is no metadata.
    #[error("{path} is not the metadata of a system library: {source}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A function without a prefix.
    #[error("{path}: {source}", path = path.display())]
    Prefixes {
        /// The file.
        path: PathBuf,
        /// Which function.
        source: TvmError,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().fold(String::new(), |mut text, path| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {}", path.display());
        text
    })
}

/// Metadata and where it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub metadata: SystemLibMetadata,
}

/// Looks for the metadata in a list of places, first come first served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactResolver {
    candidates: Vec<PathBuf>,
}

impl ArtifactResolver {
    /// Beside the archive of `G2P_TVM_SYSTEM_LIB` as it is set now, then as it was set at build
    /// time, then beside the program.
    #[must_use]
    pub fn new() -> Self {
        let now = env::var_os("G2P_TVM_SYSTEM_LIB").filter(|value| !value.is_empty());
        let now = now.and_then(|path| Path::new(&path).parent().map(Path::to_path_buf));
        let built = compiled_system_lib_dir().map(Path::to_path_buf);
        let program = env::current_exe().ok();
        let program = program.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let mut resolver = Self { candidates: Vec::new() };
        for folder in [now, built, program].into_iter().flatten() {
            resolver.add(folder.join(METADATA_FILE));
        }
        resolver
    }

    /// Only these places, each the file itself or its folder.
    pub fn with_paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut resolver = Self { candidates: Vec::new() };
        for path in paths {
            let path: PathBuf = path.into();
            resolver.add(if path.is_dir() { path.join(METADATA_FILE) } else { path });
        }
        resolver
    }

    fn add(&mut self, path: PathBuf) {
        if !self.candidates.contains(&path) {
            self.candidates.push(path);
        }
    }

    /// The first metadata found. A file that is there but broken is an error, not passed over.
    ///
    /// # Errors
    /// [`ResolveError`]; when nothing is found it lists every path tried.
    pub fn resolve(&self) -> Result<Resolved, ResolveError> {
        for path in &self.candidates {
            let bytes = match fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(ResolveError::Unreadable { path: path.clone(), source }),
            };
            let metadata = serde_json::from_slice(&bytes)
                .map_err(|source| ResolveError::Malformed { path: path.clone(), source })?;
            return Ok(Resolved { path: path.clone(), metadata });
        }
        Err(ResolveError::NotFound { tried: self.candidates.clone() })
    }

    /// The prefixes of the linked model's functions.
    ///
    /// # Errors
    /// [`ResolveError`]; a cached model needs no `decoder`, a cacheless one needs nothing else.
    pub fn resolve_system_lib_prefixes(&self) -> Result<SystemLibPrefixes, ResolveError> {
        let Resolved { path, metadata } = self.resolve()?;
        metadata.system_lib_prefixes().map_err(|source| ResolveError::Prefixes { path, source })
    }
}

impl Default for ArtifactResolver {
    fn default() -> Self {
        Self::new()
    }
}
