//! The models that are linked into the app.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use charsiug2p_g2p_tvm::ensure_linked;
use serde_json::{json, Value};

use crate::cpu::missing_features;
use crate::error::MobileError;
use crate::metadata::{Metadata, ModelInfo, ModelKind, Versions, EMBEDDED};
use crate::self_test::{self_test, SelfTest};
use crate::session::{Session, SessionOptions};
use crate::tensor::{Extent, InputInfo};

/// The models of the app, and the sessions that it has open.
#[derive(uniffi::Object)]
pub struct ModelLibrary {
    metadata: Metadata,
    sessions: Mutex<Vec<Weak<Session>>>,
}

#[uniffi::export]
impl ModelLibrary {
    /// The models of the archive that the library was built with.
    ///
    /// # Errors
    /// [`MobileError::NotLinked`] if it was built without one, [`MobileError::UnsupportedCpu`].
    #[uniffi::constructor]
    pub fn open() -> Result<Arc<Self>, MobileError> {
        if EMBEDDED.is_empty() {
            let message =
                "it holds no metadata; give the archive's to open_with_metadata".to_owned();
            return Err(MobileError::NotLinked { message });
        }
        Self::open_with_metadata(EMBEDDED)
    }

    /// The same with the text of `system_lib_metadata.json`, for an app whose archive is linked by other tools.
    ///
    /// # Errors
    /// [`MobileError::BadMetadata`]; [`MobileError::OtherBuild`] if the library was built with another archive;
    /// those of [`ModelLibrary::open`].
    #[uniffi::constructor]
    pub fn open_with_metadata(metadata: &str) -> Result<Arc<Self>, MobileError> {
        let metadata = Metadata::read(metadata)?;
        if !EMBEDDED.is_empty() {
            let expected = Metadata::read(EMBEDDED)?.versions.archive_sha256;
            let found = metadata.versions.archive_sha256.clone();
            if expected != found {
                return Err(MobileError::OtherBuild { expected, found });
            }
        }
        ensure_linked().map_err(|error| MobileError::NotLinked { message: error.to_string() })?;
        let missing = missing_features(&metadata.cpu_features);
        if !missing.is_empty() {
            return Err(MobileError::UnsupportedCpu { missing });
        }
        Ok(Arc::new(Self { metadata, sessions: Mutex::default() }))
    }

    /// Versions of the library and of what it holds.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.metadata.versions.clone()
    }

    /// All models.
    #[must_use]
    pub fn models(&self) -> Vec<ModelInfo> {
        self.metadata.models.iter().map(|model| model.info.clone()).collect()
    }

    /// Loads a model into a session of its own. Any number of sessions can be open at once, also of one model.
    ///
    /// It takes milliseconds to seconds, so an app does not call it on its UI thread.
    ///
    /// # Errors
    /// [`MobileError`].
    pub fn load(&self, model: &str, options: SessionOptions) -> Result<Arc<Session>, MobileError> {
        let entry = Arc::new(self.metadata.model(model)?.clone());
        let session = Session::start(entry, options)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|one| one.strong_count() > 0);
        sessions.push(Arc::downgrade(&session));
        Ok(session)
    }

    /// Runs orders inside the app, and writes the records that a device runner writes to the file `out`.
    ///
    /// `harness selftest orders` writes the text `orders`, and `harness selftest read` compares and reports the file. It
    /// takes as long as the orders do and blocks until then, so an app does not call it on its UI thread. The orders
    /// have models of their own; calls of sessions at the same time disturb their times.
    ///
    /// # Errors
    /// [`MobileError::NotTested`]. What goes wrong in an order is in the answer and in the file.
    pub fn self_test(&self, orders: &str, out: &str) -> Result<SelfTest, MobileError> {
        self_test(&self.metadata, orders, out)
    }

    /// For a low-memory signal: [`Session::release_memory`] of every open session.
    pub fn release_memory(&self) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().filter_map(Weak::upgrade).for_each(|session| session.release_memory());
    }
}

impl ModelLibrary {
    /// Models and versions as JSON, for C.
    pub(crate) fn describe(&self) -> String {
        let inputs = |inputs: &[InputInfo]| -> Vec<Value> {
            let shape = |input: &InputInfo| -> Vec<Value> {
                let extent = |extent: &Extent| match extent {
                    Extent::Fixed { size } => json!(size),
                    Extent::Named { name } => json!(name),
                };
                input.shape.iter().map(extent).collect()
            };
            let described = |input: &InputInfo| json!({"name": input.name, "type": input.data_type.to_string(), "shape": shape(input)});
            inputs.iter().map(described).collect()
        };
        let model = |model: &ModelInfo| match model.kind {
            ModelKind::Tensors => {
                json!({"name": model.name, "inputs": inputs(&model.inputs), "outputs": model.outputs})
            }
            ModelKind::Words => {
                json!({"name": model.name, "languages": model.languages, "max_input_bytes": model.max_input_bytes})
            }
            ModelKind::Text => {
                json!({"name": model.name, "context_tokens": model.context_tokens, "vocab_size": model.vocab_size, "has_tokenizer": model.has_tokenizer})
            }
        };
        let Versions { library, tvm, target, archive_sha256 } = &self.metadata.versions;
        let models: Vec<Value> = self.metadata.models.iter().map(|one| model(&one.info)).collect();
        let versions = json!({"library": library, "tvm": tvm, "target": target, "archive_sha256": archive_sha256});
        json!({"versions": versions, "models": models}).to_string()
    }
}
