//! Cancelling calls from another thread.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{bounded, Receiver, Sender, TryRecvError};

/// Cancels the calls that it was given to. It may be given to any number of calls, and stays cancelled.
#[derive(Debug, uniffi::Object)]
pub struct Cancellation {
    /// Nothing is ever sent. That the sender is gone is the signal, which a `select!` can wait for.
    sender: Mutex<Option<Sender<Infallible>>>,
    receiver: Receiver<Infallible>,
}

impl Default for Cancellation {
    fn default() -> Self {
        let (sender, receiver) = bounded(0);
        Self { sender: Mutex::new(Some(sender)), receiver }
    }
}

#[uniffi::export]
impl Cancellation {
    /// A new one, not cancelled.
    #[must_use]
    #[uniffi::constructor]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Ends the calls with [`MobileError::Cancelled`](crate::MobileError::Cancelled).
    ///
    /// A caller that waits for an answer gets the error at once. Words and tokens that are not yet decoded are left out. A word,
    /// a token or a tensor call that runs already is not interrupted: its answer is dropped.
    pub fn cancel(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.receiver.try_recv(), Err(TryRecvError::Disconnected))
    }
}

impl Cancellation {
    /// Never receives anything, and is disconnected once cancelled.
    pub(crate) fn signal(&self) -> &Receiver<Infallible> {
        &self.receiver
    }
}
