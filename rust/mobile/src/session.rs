//! A loaded model that any thread may call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use charsiug2p_g2p_core::Language;
use crossbeam_channel::bounded;

use crate::cancel::Cancellation;
use crate::error::MobileError;
use crate::guard::caught;
use crate::metadata::{ModelEntry, ModelInfo, ModelKind, Source};
use crate::model::{wrong_kind, Loaded};
use crate::stream::{Ends, Failure, PhonemeListener, PhonemeStream, Phonemes};
use crate::tensor::{in_order, Extent, InputInfo, NamedTensor};
use crate::text::{GenerationOptions, PromptPart};
use crate::worker::{After, Worker};

/// The most calls that a session may be asked to queue.
pub const MAX_QUEUE: u32 = 1024;
/// Results that a stream holds for a consumer that has not fetched them yet.
pub(crate) const STREAM_BUFFER: usize = 4;

/// How a session is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct SessionOptions {
    /// Calls that may wait while one runs, 1 to 1024. One more is refused with [`MobileError::QueueFull`].
    #[uniffi(default = 16)]
    pub queue_capacity: u32,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { queue_capacity: 16 }
    }
}

impl SessionOptions {
    fn check(self) -> Result<Self, MobileError> {
        if (1..=MAX_QUEUE).contains(&self.queue_capacity) {
            return Ok(self);
        }
        Err(MobileError::BadOption {
            name: "queue_capacity".to_owned(),
            allowed: format!("1 to {MAX_QUEUE}"),
            found: self.queue_capacity.to_string(),
        })
    }
}

/// A model on a thread of its own. Calls from any thread are queued and answered in their order.
///
/// Calls that return an answer block until it is there, so an app does not make them on its UI thread.
/// [`Session::listen`], [`Session::listen_to_text`] and [`Session::release_memory`] return at once.
#[derive(uniffi::Object)]
pub struct Session {
    pub(crate) entry: Arc<ModelEntry>,
    pub(crate) worker: Worker<Loaded>,
    /// Distinguishes it from all other sessions.
    pub(crate) number: u64,
    never: Arc<Cancellation>,
}

static SESSIONS: AtomicU64 = AtomicU64::new(0);

impl Session {
    pub(crate) fn start(
        entry: Arc<ModelEntry>,
        options: SessionOptions,
    ) -> Result<Arc<Self>, MobileError> {
        let options = options.check()?;
        let loaded = entry.clone();
        let load = Box::new(move || Loaded::load(&loaded));
        let worker = Worker::start(&entry.info.name, options.queue_capacity, load)?;
        let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Self { entry, worker, number, never: Cancellation::new() }))
    }

    /// The prompts of all words; the first that the model does not take is an error.
    fn prompts(&self, language: &str, words: &[String]) -> Result<Vec<String>, MobileError> {
        let Source::Words(metadata) = &self.entry.source else {
            return Err(wrong_kind(&self.entry.info.name, self.entry.info.kind));
        };
        let bad = |error: charsiug2p_g2p_core::InputError| MobileError::BadWord {
            message: error.to_string(),
        };
        let language = Language::new(language, metadata.languages.as_deref()).map_err(bad)?;
        let format = metadata.prompt_format();
        words.iter().map(|word| format.prompt(&language, word).map_err(bad)).collect()
    }

    pub(crate) fn or_never(&self, cancellation: Option<Arc<Cancellation>>) -> Arc<Cancellation> {
        cancellation.unwrap_or_else(|| self.never.clone())
    }

    /// What ends a call of the session early.
    pub(crate) fn ends(&self, cancellation: &Arc<Cancellation>) -> Ends {
        Ends {
            cancelled: cancellation.clone(),
            closed: self.worker.closed().clone(),
            closed_error: self.worker.closed_error(),
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), MobileError> {
        if self.is_closed() {
            return Err(self.worker.closed_error());
        }
        Ok(())
    }
}

#[uniffi::export]
impl Session {
    /// The model.
    #[must_use]
    pub fn model(&self) -> ModelInfo {
        self.entry.info.clone()
    }

    /// Runs a model of tensors. The inputs may be in any order; the outputs are in the model's.
    ///
    /// # Errors
    /// [`MobileError`]. Inputs that do not fit the model are refused before they are queued.
    #[uniffi::method(default(cancellation = None))]
    pub fn run_inference(
        &self,
        inputs: Vec<NamedTensor>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Vec<NamedTensor>, MobileError> {
        self.check_open()?;
        if self.entry.info.kind != ModelKind::Tensors {
            return Err(wrong_kind(&self.entry.info.name, self.entry.info.kind));
        }
        in_order(&self.entry.info.inputs, &inputs)?;
        self.worker.call(&self.or_never(cancellation), move |model| model.run(&inputs))?.wait()
    }

    /// Phonemes of words, in the words' order. All words are checked before the first is decoded.
    ///
    /// # Errors
    /// [`MobileError`].
    #[uniffi::method(default(cancellation = None))]
    pub fn phonemize(
        &self,
        language: &str,
        words: Vec<String>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Vec<Phonemes>, MobileError> {
        let count = words.len();
        let stream = self.stream(language, words, cancellation)?;
        let mut found = Vec::with_capacity(count);
        while let Some(one) = stream.next()? {
            found.push(one);
        }
        Ok(found)
    }

    /// The same, word by word. The model waits for a consumer that is slow.
    ///
    /// A stream takes the session until its words are decoded or it is dropped.
    ///
    /// # Errors
    /// [`MobileError`]: what can be found before the first word is decoded. The rest is an error of the stream.
    #[uniffi::method(default(cancellation = None))]
    pub fn stream(
        &self,
        language: &str,
        words: Vec<String>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<Arc<PhonemeStream>, MobileError> {
        self.check_open()?;
        let prompts = self.prompts(language, &words)?;
        let cancellation = self.or_never(cancellation);
        let (results, received) = bounded(STREAM_BUFFER);
        let ends = self.ends(&cancellation);
        let pending = self.worker.call(&cancellation, move |model| {
            for (at, (word, prompt)) in (0_u32..).zip(words.into_iter().zip(prompts)) {
                let spelled = model.spell(&prompt)?;
                let one = Phonemes::new(at, word, spelled.phonemes, spelled.nanoseconds);
                if !ends.send(&results, one)? {
                    // The consumer dropped the stream.
                    return Ok(());
                }
            }
            Ok(())
        })?;
        Ok(PhonemeStream::new(received, cancellation, pending))
    }

    /// The same, given to a listener on the model's thread. Returns at once, so a UI thread may call it.
    ///
    /// A listener that is slow keeps the model waiting.
    ///
    /// # Errors
    /// [`MobileError`]: what can be found before the call is queued. The rest is given to the listener.
    #[uniffi::method(default(cancellation = None))]
    pub fn listen(
        &self,
        language: &str,
        words: Vec<String>,
        listener: Arc<dyn PhonemeListener>,
        cancellation: Option<Arc<Cancellation>>,
    ) -> Result<(), MobileError> {
        self.check_open()?;
        let prompts = self.prompts(language, &words)?;
        let cancellation = self.or_never(cancellation);
        let ends = self.ends(&cancellation);
        self.worker.post(&cancellation, move |model| {
            let ended = model.and_then(|model| {
                for (at, (word, prompt)) in (0_u32..).zip(words.into_iter().zip(prompts)) {
                    ends.check()?;
                    let spelled = caught(|| model.spell(&prompt))?;
                    let one = Phonemes::new(at, word, spelled.phonemes, spelled.nanoseconds);
                    listened(|| listener.on_word(one))?;
                }
                Ok(())
            });
            let after = After::of(&ended);
            // Of a listener that fails at its end nobody is left to hear.
            let _ = listened(|| listener.on_end(ended.err().map(Failure::from)));
            after
        })
    }

    /// Calls the model once with made-up input, so that its first real call is as fast as the others.
    ///
    /// A dynamic extent is 1 in this call.
    ///
    /// # Errors
    /// [`MobileError`].
    pub fn warm_up(&self) -> Result<(), MobileError> {
        match &self.entry.source {
            Source::Tensors { .. } => {
                let inputs = self.entry.info.inputs.iter().map(zeros).collect::<Result<_, _>>()?;
                self.run_inference(inputs, None).map(drop)
            }
            Source::Words(metadata) => {
                let first = metadata.languages.as_ref().and_then(|known| known.first());
                let language = first.map_or("eng-us", String::as_str);
                self.phonemize(language, vec!["a".to_owned()], None).map(drop)
            }
            // Two tokens, so that both functions are called.
            Source::Text(_) => {
                let prompt = vec![PromptPart::Tokens { tokens: vec![0, 0] }];
                let options = GenerationOptions { max_tokens: 1, ..GenerationOptions::default() };
                self.generate(prompt, options, None, None).map(drop)
            }
        }
    }

    /// For a low-memory signal: drops the loaded model and its buffers once the call that runs has ended.
    ///
    /// Returns at once. The next call loads the model again.
    pub fn release_memory(&self) {
        self.worker.release();
    }

    /// Ends the session and frees its memory. Calls that wait, and later ones, get [`MobileError::Closed`].
    ///
    /// Returns at once; a call that runs ends first. Closing twice does nothing. Kotlin and Swift call it `shutDown`,
    /// because `close` there gives back the object itself.
    #[uniffi::method(name = "shut_down")]
    pub fn close(&self) {
        self.worker.close();
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.worker.closed().is_cancelled()
    }
}

/// A listener is the app's: its panic is an error like any other.
pub(crate) fn listened(call: impl FnOnce()) -> Result<(), MobileError> {
    caught(|| {
        call();
        Ok(())
    })
}

/// An input of zeros.
fn zeros(input: &InputInfo) -> Result<NamedTensor, MobileError> {
    let shape: Vec<u64> = input
        .shape
        .iter()
        .map(|extent| if let Extent::Fixed { size } = extent { *size } else { 1 })
        .collect();
    let size = input.data_type.element().size() as u64;
    let bytes = shape.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let mut data = Vec::new();
    let reserved = bytes.and_then(|bytes| data.try_reserve_exact(bytes).ok().map(|()| bytes));
    let message = || format!("the input {:?} of shape {shape:?}", input.name);
    data.resize(reserved.ok_or_else(|| MobileError::OutOfMemory { message: message() })?, 0);
    Ok(NamedTensor { name: input.name.clone(), data_type: input.data_type, shape, data })
}
