//! Phonemes word by word: a stream to take them from, or a listener that gets them.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{select, Receiver};

use crate::cancel::Cancellation;
use crate::error::MobileError;
use crate::worker::Pending;

/// A word's phonemes.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Phonemes {
    /// The word's position in the call, from 0.
    pub index: u32,
    /// The word.
    pub word: String,
    /// Its phonemes.
    pub phonemes: String,
    /// How long the model took.
    pub nanoseconds: u64,
}

impl Phonemes {
    pub(crate) fn new(index: u32, word: String, phonemes: String, nanoseconds: u64) -> Self {
        Self { index, word, phonemes, nanoseconds }
    }
}

/// Why a call ended early, as a listener gets it.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Failure {
    /// The error's number ([`MobileError::code`]).
    pub code: i32,
    /// The error's message.
    pub message: String,
}

impl From<MobileError> for Failure {
    fn from(error: MobileError) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

/// Gets phonemes as they are decoded. It is called on the model's thread.
#[uniffi::export(with_foreign)]
pub trait PhonemeListener: Send + Sync {
    /// A word is decoded.
    fn on_word(&self, word: Phonemes);

    /// No more words follow: all are decoded, or `failure` has the reason. Called exactly once.
    fn on_end(&self, failure: Option<Failure>);
}

/// Phonemes to take one after the other.
#[derive(uniffi::Object)]
pub struct PhonemeStream {
    received: Receiver<Phonemes>,
    cancellation: Arc<Cancellation>,
    /// How the call ended; taken by whoever finds no more words.
    pending: Mutex<Option<Pending<()>>>,
}

impl PhonemeStream {
    pub(crate) fn new(
        received: Receiver<Phonemes>,
        cancellation: Arc<Cancellation>,
        pending: Pending<()>,
    ) -> Arc<Self> {
        Arc::new(Self { received, cancellation, pending: Mutex::new(Some(pending)) })
    }
}

#[uniffi::export]
impl PhonemeStream {
    /// Waits for the next word; none once all are taken.
    ///
    /// # Errors
    /// [`MobileError`], once, if the call ended early.
    pub fn next(&self) -> Result<Option<Phonemes>, MobileError> {
        // Held while it waits: of several threads one after the other takes a word.
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_none() {
            return Ok(None);
        }
        // Words that were decoded before a cancellation are dropped, so that nothing follows its error.
        if !self.cancellation.is_cancelled() {
            select! {
                recv(self.received) -> one => if one.is_ok() {
                    return Ok(one.ok());
                },
                recv(self.cancellation.signal()) -> _ => {}
            }
        }
        pending.take().map_or(Ok(None), |pending| pending.wait().map(|()| None))
    }
}

impl PhonemeStream {
    /// The words that follow, as Rust's iterators have them.
    pub fn words(&self) -> impl Iterator<Item = Result<Phonemes, MobileError>> + '_ {
        std::iter::from_fn(|| self.next().transpose())
    }
}
