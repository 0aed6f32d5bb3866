//! The models that are linked into the app.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use charsiug2p_g2p_tvm::ensure_linked;

use crate::cpu::missing_features;
use crate::error::MobileError;
use crate::metadata::{Metadata, ModelInfo, Versions, EMBEDDED};
use crate::session::{Session, SessionOptions};

/// The models of the app, and the sessions that it has open.
#[cfg_attr(feature = "uniffi", derive(uniffi::Object))]
pub struct Library {
    metadata: Metadata,
    sessions: Mutex<Vec<Weak<Session>>>,
}

#[cfg_attr(feature = "uniffi", uniffi::export)]
impl Library {
    /// The models of the archive that the library was built with.
    ///
    /// # Errors
    /// [`MobileError::NotLinked`] if it was built without one, [`MobileError::UnsupportedCpu`].
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
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
    /// those of [`Library::open`].
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
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

    /// For a low-memory signal: [`Session::release_memory`] of every open session.
    pub fn release_memory(&self) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().filter_map(Weak::upgrade).for_each(|session| session.release_memory());
    }
}
