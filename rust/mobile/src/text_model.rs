//! A loaded language model: what it does on a worker's thread.

use std::cell::OnceCell;
use std::mem;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use charsiug2p_language::{
    generate, BadStep, Cache, Choice, Decoder, Ended, Listener, Pieces, Plan, Stops, WithCache,
};
use charsiug2p_workload::{nanoseconds, Sampler};

use crate::error::MobileError;
use crate::metadata::TextSource;
use crate::reasons::{while_loading, while_running};
use crate::text::{Conversation, Generation, GenerationEnd, GenerationOptions, Piece, PromptPart};
use crate::tokenizer::Tokenizer;

/// A call.
pub(crate) struct Request {
    pub prompt: Vec<PromptPart>,
    pub options: GenerationOptions,
    pub conversation: Option<Arc<Conversation>>,
}

/// The receiver of the answer.
pub(crate) trait Consumer {
    /// Whether the call is to continue.
    fn check(&self) -> Result<(), MobileError>;

    /// Takes a piece.
    fn take(&mut self, piece: Piece) -> Result<(), MobileError>;
}

/// The tokens of a conversation, as the app's handle and the model share them.
type Text = Mutex<Vec<i32>>;

/// A language model, the caches of its conversations, and its tokenizer once it was needed.
pub(crate) struct TextModel {
    name: String,
    source: TextSource,
    decoder: Decoder,
    tokenizer: OnceCell<Tokenizer>,
    caches: Vec<(Weak<Text>, Cache)>,
    /// The cache of prompts outside of conversations.
    alone: Option<Cache>,
}

impl TextModel {
    /// Takes the functions from the library.
    pub fn load(name: &str, source: &TextSource) -> Result<Self, MobileError> {
        let decoder = Decoder::load(&source.prefixes, source.sizes.clone(), &mut |_, _| {});
        Ok(Self {
            name: name.to_owned(),
            source: source.clone(),
            decoder: decoder.map_err(|error| while_loading(name, &error))?,
            tokenizer: OnceCell::new(),
            caches: Vec::new(),
            alone: None,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Frees the caches of conversations that nobody has any more.
    pub fn tidy(&mut self) {
        self.caches.retain(|(text, _)| text.strong_count() > 0);
    }

    /// Answers a prompt.
    pub fn answer(
        &mut self,
        request: &Request,
        consumer: &mut dyn Consumer,
    ) -> Result<Generation, MobileError> {
        let started = Instant::now();
        self.tidy();
        let shared = request.conversation.as_ref().map(|one| one.text().clone());
        let mut text = shared.as_ref().map_or_else(Vec::new, |text| lock(text).clone());
        let known = text.len();
        self.read(&request.prompt, &mut text)?;
        let (prompt_tokens, stops) = (text.len(), self.stops(&request.options)?);
        let name = self.name.clone();
        let failed = |error: BadStep| refused(&name, error);

        let Self { source, decoder, tokenizer, caches, alone, .. } = self;
        let cache = cache_of(decoder, caches, alone, shared.as_ref());
        let cache = cache.map_err(|error| while_running(&name, &error))?;
        cache.keep(if shared.is_some() { known } else { 0 });
        let sampling = request.options.sampling();
        let sampler = sampling.map(|options| Sampler::new(options, source.sizes.vocab_size));
        let mut sampler = sampler.transpose().map_err(|message| bad(&message))?;
        let mut choice = match &mut sampler {
            None => Choice::Best,
            Some(sampler) if request.options.greedy() => Choice::BestScore(sampler),
            Some(sampler) => Choice::Drawn(sampler),
        };
        let mut telling = Telling::new(tokenizer.get(), stops, consumer, started);
        let most = request.options.max_tokens as usize;
        let plan = Plan { most, stop_tokens: &source.stop_tokens };
        let mut model = WithCache::new(decoder, cache).map_err(failed)?;
        let read_tokens = prompt_tokens - charsiug2p_language::Model::filled(&model);
        let ended = generate(&mut model, &mut text, &plan, &mut choice, &mut telling);
        let found = ended.map_err(failed).and_then(|ended| telling.finish(ended, &text));
        if let Some(shared) = shared.filter(|_| keeps(&found)) {
            lock(&shared).clone_from(&text);
        }
        let Told { text: answer, ended, stop, first } = found?;
        Ok(Generation {
            text: answer,
            tokens: text.split_off(prompt_tokens),
            ended,
            stop_string: stop.and_then(|stop| request.options.stop_strings.get(stop).cloned()),
            prompt_tokens: prompt_tokens as u64,
            read_tokens: read_tokens as u64,
            first_token_nanoseconds: first,
            nanoseconds: nanoseconds(started.elapsed()),
        })
    }

    /// Adds a prompt's tokens to a text. They are all in the vocabulary, and leave room for an answer.
    fn read(&self, prompt: &[PromptPart], text: &mut Vec<i32>) -> Result<(), MobileError> {
        let fresh = text.is_empty();
        let before = text.len();
        for part in prompt {
            match part {
                PromptPart::Tokens { tokens } => text.extend_from_slice(tokens),
                PromptPart::Text { text: one } => {
                    // What a tokenizer puts around a text belongs around a whole one.
                    let around = fresh && prompt.len() == 1;
                    let codec = self.codec("text")?;
                    text.extend(codec.encode(one, around).map_err(|error| bad(&error))?);
                }
                PromptPart::Special { name } => {
                    let found = self.codec("special tokens")?.special(name);
                    text.push(found.ok_or_else(|| bad(&format!("no special token is {name:?}")))?);
                }
            }
        }
        let sizes = &self.source.sizes;
        if let Some(token) = text[before..].iter().find(|&&token| !sizes.knows(token)) {
            let most = sizes.vocab_size;
            return Err(bad(&format!("token {token} is outside the vocabulary of {most}")));
        }
        let (tokens, context) = (text.len(), sizes.capacity);
        if tokens == 0 {
            return Err(refused(&self.name, BadStep::Empty));
        }
        if tokens >= context {
            return Err(refused(&self.name, BadStep::Full { tokens, capacity: context }));
        }
        Ok(())
    }

    /// The tokenizer, read when it is asked for first.
    fn codec(&self, wanted: &str) -> Result<&Tokenizer, MobileError> {
        if let Some(codec) = self.tokenizer.get() {
            return Ok(codec);
        }
        let name = &self.name;
        let content = self.source.tokenizer.ok_or_else(|| {
            bad(&format!("the model {name:?} has no tokenizer and takes token ids, not {wanted}"))
        })?;
        let codec = Tokenizer::read(content)
            .map_err(|message| MobileError::CorruptModel { model: name.clone(), message })?;
        Ok(self.tokenizer.get_or_init(|| codec))
    }

    /// What looks for stop strings. A model with a tokenizer has it from here on, whatever its prompt is.
    fn stops(&self, options: &GenerationOptions) -> Result<Stops, MobileError> {
        let wrong = |found: String| MobileError::BadOption {
            name: "stop_strings".to_owned(),
            allowed: "up to 16 texts of a model with a tokenizer".to_owned(),
            found,
        };
        if self.source.tokenizer.is_some() {
            self.codec("text")?;
        } else if !options.stop_strings.is_empty() {
            return Err(wrong(format!("{} texts", options.stop_strings.len())));
        }
        Stops::new(options.stop_strings.clone()).map_err(wrong)
    }
}

/// The cache of a conversation, or that of all other prompts.
fn cache_of<'a>(
    decoder: &Decoder,
    caches: &'a mut Vec<(Weak<Text>, Cache)>,
    alone: &'a mut Option<Cache>,
    text: Option<&Arc<Text>>,
) -> Result<&'a mut Cache, charsiug2p_g2p_tvm::TvmError> {
    let Some(text) = text else {
        let cache = match alone.take() {
            Some(cache) => cache,
            None => decoder.cache()?,
        };
        return Ok(alone.insert(cache));
    };
    let at = caches.iter().position(|(one, _)| std::ptr::eq(one.as_ptr(), Arc::as_ptr(text)));
    let at = if let Some(at) = at {
        at
    } else {
        caches.push((Arc::downgrade(text), decoder.cache()?));
        caches.len() - 1
    };
    Ok(&mut caches[at].1)
}

/// Whether a conversation keeps the tokens of a call that ended so. Those of one that failed are dropped.
fn keeps(found: &Result<Told, MobileError>) -> bool {
    matches!(found, Ok(_) | Err(MobileError::Cancelled))
}

fn lock(text: &Text) -> MutexGuard<'_, Vec<i32>> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bad(message: &str) -> MobileError {
    MobileError::BadPrompt { message: message.to_owned() }
}

/// Why a generation did not begin or continue.
fn refused(model: &str, error: BadStep) -> MobileError {
    match error {
        BadStep::Tvm(error) => while_running(model, &error),
        BadStep::Empty => bad("the prompt is empty"),
        BadStep::Full { tokens, capacity } => {
            MobileError::ContextFull { tokens: tokens as u64, context: capacity as u64 }
        }
        BadStep::OtherModel { of, model } => MobileError::OtherConversation { of, model },
        other => MobileError::ModelFailed { model: model.to_owned(), message: other.to_string() },
    }
}

/// What is known of an answer at its end.
struct Told {
    text: String,
    ended: GenerationEnd,
    stop: Option<usize>,
    first: u64,
}

/// Turns tokens into pieces for a consumer.
struct Telling<'a> {
    codec: Option<&'a Tokenizer>,
    consumer: &'a mut dyn Consumer,
    started: Instant,
    /// Nanoseconds until the first token.
    first: Option<u64>,
    pieces: Pieces,
    stops: Stops,
    /// The number of the stop string to which the answer came.
    stopped: Option<usize>,
    /// What the consumer does not have yet.
    piece: Piece,
    /// All text that it has.
    text: String,
    failed: Option<MobileError>,
}

impl<'a> Telling<'a> {
    fn new(
        codec: Option<&'a Tokenizer>,
        stops: Stops,
        consumer: &'a mut dyn Consumer,
        started: Instant,
    ) -> Self {
        Self {
            codec,
            consumer,
            started,
            first: None,
            pieces: Pieces::default(),
            stops,
            stopped: None,
            piece: Piece { text: String::new(), tokens: Vec::new() },
            text: String::new(),
            failed: None,
        }
    }

    /// Takes text that follows.
    fn hear(&mut self, text: &str) {
        self.stopped = self.stops.push(text, &mut self.piece.text);
    }

    fn read(&mut self, token: i32) -> Result<(), MobileError> {
        self.first.get_or_insert_with(|| nanoseconds(self.started.elapsed()));
        self.piece.tokens.push(token);
        let Some(codec) = self.codec else {
            return self.tell();
        };
        let mut text = String::new();
        self.pieces.push(codec, token, &mut text).map_err(|error| undecoded(&error))?;
        self.hear(&text);
        if self.piece.text.is_empty() {
            Ok(())
        } else {
            self.tell()
        }
    }

    fn tell(&mut self) -> Result<(), MobileError> {
        let piece = Piece {
            text: mem::take(&mut self.piece.text),
            tokens: mem::take(&mut self.piece.tokens),
        };
        self.text.push_str(&piece.text);
        self.consumer.take(piece)
    }

    /// Passes what is left of an answer whose tokens are the last ones of `text`.
    fn finish(mut self, ended: Ended, text: &[i32]) -> Result<Told, MobileError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if ended == Ended::StopToken {
            self.first.get_or_insert_with(|| nanoseconds(self.started.elapsed()));
            self.piece.tokens.extend(text.last());
        }
        if self.stopped.is_none() {
            let mut rest = String::new();
            if let Some(codec) = self.codec {
                let pieces = mem::take(&mut self.pieces);
                pieces.finish(codec, &mut rest).map_err(|error| undecoded(&error))?;
            }
            self.hear(&rest);
        }
        if self.stopped.is_none() {
            self.stops.finish(&mut self.piece.text);
        }
        if !self.piece.text.is_empty() || !self.piece.tokens.is_empty() {
            self.tell()?;
        }
        let by_itself = GenerationEnd::of(ended).filter(|_| self.stopped.is_none());
        Ok(Told {
            text: self.text,
            ended: by_itself.unwrap_or(GenerationEnd::StopString),
            stop: self.stopped,
            first: self.first.unwrap_or_default(),
        })
    }
}

fn undecoded(error: &str) -> MobileError {
    bad(&format!("the answer has no text: {error}"))
}

impl Listener for Telling<'_> {
    fn goes_on(&mut self) -> bool {
        self.failed = self.consumer.check().err();
        self.failed.is_none()
    }

    fn token(&mut self, token: i32) -> ControlFlow<()> {
        self.failed = self.read(token).err();
        if self.failed.is_some() || self.stopped.is_some() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
