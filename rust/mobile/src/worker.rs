//! A thread that owns a model, and a bounded queue of calls to it.
//!
//! TVM's virtual machine has state without locks, so a model never leaves the thread that loaded it. Callers of any
//! thread put their calls into the queue and wait for the answers. A full queue refuses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{bounded, select, Receiver, Sender, TrySendError};

use crate::cancel::Cancellation;
use crate::error::MobileError;
use crate::guard::caught;

/// A model that the worker loads, calls and drops.
pub(crate) trait Model: Sized + 'static {
    /// Frees what the process keeps of models that were dropped.
    fn trim();

    /// Frees what nobody will ask for again.
    fn tidy(&mut self) {}
}

type Load<M> = Box<dyn FnMut() -> Result<M, MobileError> + Send>;
/// A call gets the model only if it asks for it: one that was cancelled loads nothing.
type Call<M> = Box<dyn FnOnce(&mut Kept<M>) -> After + Send>;

/// What a call leaves behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// A model that can be called again.
    Whole,
    /// A model that panicked, and is loaded again for the next call.
    Broken,
}

impl After {
    /// What a result leaves behind.
    pub fn of<T>(result: &Result<T, MobileError>) -> Self {
        if matches!(result, Err(MobileError::Panic { .. })) {
            Self::Broken
        } else {
            Self::Whole
        }
    }
}

/// The handle of a worker. Dropping it ends the thread after the call that runs.
pub(crate) struct Worker<M> {
    name: String,
    capacity: u32,
    calls: Mutex<Option<Sender<Call<M>>>>,
    closed: Arc<Cancellation>,
    release: Arc<AtomicBool>,
    /// Wakes an idle worker so that it releases its memory.
    wake: Sender<()>,
}

impl<M: Model> Worker<M> {
    /// Starts a thread and has it load the model.
    ///
    /// # Errors
    /// What loading gives; [`MobileError::OutOfMemory`] if no thread can be started.
    pub fn start(name: &str, capacity: u32, load: Load<M>) -> Result<Self, MobileError> {
        let (calls, queue) = bounded::<Call<M>>(capacity as usize);
        let (wake, woken) = bounded(1);
        let (loaded, loading) = bounded(1);
        let closed = Cancellation::new();
        let release = Arc::new(AtomicBool::new(false));
        let let_go = release.clone();
        let run = move || {
            // Made here: the model is never another thread's.
            let mut kept = Kept { model: None, load };
            let first = kept.loaded().map(|_| ());
            let failed = first.is_err();
            if loaded.send(first).is_ok() && !failed {
                serve(&mut kept, &queue, &woken, &let_go);
            }
        };
        // Without a name that depends on the model's, which could hold a NUL.
        let started = thread::Builder::new().name("harness-model".to_owned()).spawn(run);
        started.map_err(|error| MobileError::OutOfMemory {
            message: format!("a thread for {name:?}: {error}"),
        })?;
        loading.recv().unwrap_or_else(|_| Err(ended()))?;
        let (name, calls) = (name.to_owned(), Mutex::new(Some(calls)));
        Ok(Self { name, capacity, calls, closed, release, wake })
    }

    /// Queues a call. Its answer is [`Pending::wait`]'s.
    ///
    /// # Errors
    /// [`MobileError::Closed`], [`MobileError::QueueFull`], [`MobileError::Cancelled`].
    pub fn call<T: Send + 'static>(
        &self,
        cancellation: &Arc<Cancellation>,
        work: impl FnOnce(&mut M) -> Result<T, MobileError> + Send + 'static,
    ) -> Result<Pending<T>, MobileError> {
        let (answer, answers) = bounded(1);
        self.post(cancellation, move |model| {
            let result = model.and_then(|model| caught(|| work(model)));
            let after = After::of(&result);
            // Nobody waits for the answer of a cancelled call.
            let _ = answer.send(result);
            after
        })?;
        Ok(Pending { answers, cancellation: cancellation.clone() })
    }

    /// Queues work that is done once in any case: with the model, or with the reason why there is none.
    ///
    /// # Errors
    /// Those of [`Worker::call`]; the work is then not done.
    pub fn post(
        &self,
        cancellation: &Arc<Cancellation>,
        work: impl FnOnce(Result<&mut M, MobileError>) -> After + Send + 'static,
    ) -> Result<(), MobileError> {
        if cancellation.is_cancelled() {
            return Err(MobileError::Cancelled);
        }
        let (cancelled, closed, error) =
            (cancellation.clone(), self.closed.clone(), self.closed_error());
        let call: Call<M> = Box::new(move |kept| {
            if closed.is_cancelled() {
                work(Err(error))
            } else if cancelled.is_cancelled() {
                work(Err(MobileError::Cancelled))
            } else {
                work(kept.loaded())
            }
        });
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        match calls.as_ref().map(|calls| calls.try_send(call)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => {
                Err(MobileError::QueueFull { capacity: self.capacity })
            }
            Some(Err(TrySendError::Disconnected(_))) | None => Err(self.closed_error()),
        }
    }

    /// Drops the model as soon as the call that runs has ended. The next call loads it again.
    pub fn release(&self) {
        self.release.store(true, Ordering::Release);
        // Full means that a wake-up is waiting already.
        let _ = self.wake.try_send(());
    }

    /// What wakes the worker so that the model tidies up. Sending never waits.
    pub fn waker(&self) -> Sender<()> {
        self.wake.clone()
    }

    /// Ends the worker. Calls that wait get [`MobileError::Closed`].
    pub fn close(&self) {
        self.closed.cancel();
        drop(self.calls.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.wake.try_send(());
    }

    /// Cancelled once the worker is closed, for calls that take long.
    pub fn closed(&self) -> &Arc<Cancellation> {
        &self.closed
    }

    pub fn closed_error(&self) -> MobileError {
        MobileError::Closed { model: self.name.clone() }
    }
}

impl<M> Drop for Worker<M> {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// The answer to a call that was queued.
pub(crate) struct Pending<T> {
    answers: Receiver<Result<T, MobileError>>,
    cancellation: Arc<Cancellation>,
}

impl<T> Pending<T> {
    /// Waits for the answer, or until the call is cancelled.
    ///
    /// # Errors
    /// What the call gives; [`MobileError::Cancelled`], [`MobileError::Closed`].
    pub fn wait(self) -> Result<T, MobileError> {
        select! {
            recv(self.answers) -> answer => answer.unwrap_or_else(|_| Err(ended())),
            recv(self.cancellation.signal()) -> _ => Err(MobileError::Cancelled),
        }
    }
}

/// A worker that ends without an answer; nothing is known to make one do so.
fn ended() -> MobileError {
    MobileError::Panic { message: "the thread of the model ended".to_owned() }
}

/// The model, and how to load it again.
struct Kept<M> {
    model: Option<M>,
    load: Load<M>,
}

impl<M: Model> Kept<M> {
    fn loaded(&mut self) -> Result<&mut M, MobileError> {
        let model = match self.model.take() {
            Some(model) => model,
            None => caught(&mut self.load)?,
        };
        Ok(self.model.insert(model))
    }

    fn release(&mut self) {
        // A model whose end panics is gone all the same.
        let model = self.model.take();
        let _ = caught(|| {
            drop(model);
            M::trim();
            Ok(())
        });
    }
}

/// Answers calls until the worker is closed or dropped.
fn serve<M: Model>(
    kept: &mut Kept<M>,
    queue: &Receiver<Call<M>>,
    woken: &Receiver<()>,
    release: &AtomicBool,
) {
    loop {
        select! {
            recv(queue) -> call => match call {
                Ok(call) => if call(kept) == After::Broken {
                    kept.release();
                },
                // Closed, and all that waited was answered.
                Err(_) => break,
            },
            recv(woken) -> _ => if let Some(model) = &mut kept.model {
                model.tidy();
            },
        }
        if release.swap(false, Ordering::AcqRel) {
            kept.release();
        }
    }
    kept.release();
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
