//! Phonemes word by word: a stream to take them from, or a listener that gets them.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{select, Receiver, Sender};

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

/// What ends a call early.
#[derive(Clone)]
pub(crate) struct Ends {
    pub cancelled: Arc<Cancellation>,
    pub closed: Arc<Cancellation>,
    /// The error of a session that was closed.
    pub closed_error: MobileError,
}

impl Ends {
    /// Whether the call is to continue.
    pub fn check(&self) -> Result<(), MobileError> {
        if self.closed.is_cancelled() {
            return Err(self.closed_error.clone());
        }
        if self.cancelled.is_cancelled() {
            return Err(MobileError::Cancelled);
        }
        Ok(())
    }

    /// Waits until the consumer has room for it. False if the consumer is gone.
    pub fn send<T>(&self, results: &Sender<T>, one: T) -> Result<bool, MobileError> {
        if self.cancelled.is_cancelled() {
            return Err(MobileError::Cancelled);
        }
        select! {
            send(results, one) -> sent => Ok(sent.is_ok()),
            recv(self.cancelled.signal()) -> _ => Err(MobileError::Cancelled),
            recv(self.closed.signal()) -> _ => Err(self.closed_error.clone()),
        }
    }
}

/// What a call sends one after the other, and how it ends.
pub(crate) struct Sent<T, R> {
    received: Receiver<T>,
    cancellation: Arc<Cancellation>,
    /// How the call ended; taken by the reader that finds that nothing follows.
    pending: Mutex<Option<Pending<R>>>,
}

/// What [`Sent::next`] finds.
pub(crate) enum Next<T, R> {
    One(T),
    /// Told once.
    End(R),
    /// After the end, or after an error.
    Nothing,
}

impl<T, R> Sent<T, R> {
    pub fn new(
        received: Receiver<T>,
        cancellation: Arc<Cancellation>,
        pending: Pending<R>,
    ) -> Self {
        Self { received, cancellation, pending: Mutex::new(Some(pending)) }
    }

    /// Waits for what is sent next.
    pub fn next(&self) -> Result<Next<T, R>, MobileError> {
        // Held while it waits: of several threads one after the other takes something.
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_none() {
            return Ok(Next::Nothing);
        }
        // What was sent before a cancellation is dropped, so that nothing follows its error.
        if !self.cancellation.is_cancelled() {
            select! {
                recv(self.received) -> one => if let Ok(one) = one {
                    return Ok(Next::One(one));
                },
                recv(self.cancellation.signal()) -> _ => {}
            }
        }
        pending.take().map_or(Ok(Next::Nothing), |pending| pending.wait().map(Next::End))
    }
}

/// Phonemes to take one after the other.
#[derive(uniffi::Object)]
pub struct PhonemeStream(Sent<Phonemes, ()>);

impl PhonemeStream {
    pub(crate) fn new(
        received: Receiver<Phonemes>,
        cancellation: Arc<Cancellation>,
        pending: Pending<()>,
    ) -> Arc<Self> {
        Arc::new(Self(Sent::new(received, cancellation, pending)))
    }
}

#[uniffi::export]
impl PhonemeStream {
    /// Waits for the next word; none once all are taken.
    ///
    /// # Errors
    /// [`MobileError`], once, if the call ended early.
    pub fn next(&self) -> Result<Option<Phonemes>, MobileError> {
        Ok(match self.0.next()? {
            Next::One(one) => Some(one),
            Next::End(()) | Next::Nothing => None,
        })
    }
}

impl PhonemeStream {
    /// The words that follow, as Rust's iterators have them.
    pub fn words(&self) -> impl Iterator<Item = Result<Phonemes, MobileError>> + '_ {
        std::iter::from_fn(|| self.next().transpose())
    }
}
