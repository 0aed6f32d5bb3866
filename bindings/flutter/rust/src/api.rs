//! The calls of `charsiug2p-mobile`, as Dart has them.
//!
//! Functions that are not `sync` run on threads of the bridge and are futures in Dart, so that the UI's isolate continues.

use std::sync::Arc;

use charsiug2p_mobile as mobile;
use flutter_rust_bridge::frb;

use crate::frb_generated::StreamSink;

/// What went wrong. The order is that of the errors' numbers, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The library was built without models.
    NotLinked,
    /// The metadata is not JSON, or lacks something.
    BadMetadata,
    /// The metadata is of another archive than the library's.
    OtherBuild,
    /// There is no model of that name.
    UnknownModel,
    /// The metadata names a model whose code is not in the library.
    ModelMissing,
    /// The model's data in the library is damaged.
    CorruptModel,
    /// There is not enough memory.
    OutOfMemory,
    /// The processor lacks what the models were compiled for.
    UnsupportedCpu,
    /// Words for a model of tensors, or tensors for a model of words.
    WrongKind,
    /// An input is missing, unknown or there twice.
    WrongInputs,
    /// An input of another element type.
    WrongType,
    /// An input of another shape.
    WrongShape,
    /// Bytes that do not fill the shape.
    WrongSize,
    /// A word or a language that the model does not take.
    BadWord,
    /// An option outside its limits.
    BadOption,
    /// An argument that no model can take.
    BadArgument,
    /// The session was closed.
    Closed,
    /// The call was cancelled.
    Cancelled,
    /// Too many calls wait.
    QueueFull,
    /// The model ran and failed.
    ModelFailed,
    /// A defect of the library.
    Panic,
    /// A self-test without orders, or one whose file cannot be written.
    NotTested,
    /// A prompt that the model does not take.
    BadPrompt,
    /// The text fills the model's context.
    ContextFull,
    /// A conversation of another session.
    OtherConversation,
}

/// Dart's integers have a sign.
fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl ErrorKind {
    const ALL: [Self; 25] = [
        Self::NotLinked,
        Self::BadMetadata,
        Self::OtherBuild,
        Self::UnknownModel,
        Self::ModelMissing,
        Self::CorruptModel,
        Self::OutOfMemory,
        Self::UnsupportedCpu,
        Self::WrongKind,
        Self::WrongInputs,
        Self::WrongType,
        Self::WrongShape,
        Self::WrongSize,
        Self::BadWord,
        Self::BadOption,
        Self::BadArgument,
        Self::Closed,
        Self::Cancelled,
        Self::QueueFull,
        Self::ModelFailed,
        Self::Panic,
        Self::NotTested,
        Self::BadPrompt,
        Self::ContextFull,
        Self::OtherConversation,
    ];
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelException {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The same for a person.
    pub message: String,
}

impl From<mobile::MobileError> for ModelException {
    fn from(error: mobile::MobileError) -> Self {
        let at = usize::try_from(error.code() - 1).ok();
        let kind = at.and_then(|at| ErrorKind::ALL.get(at).copied()).unwrap_or(ErrorKind::Panic);
        Self { kind, message: error.to_string() }
    }
}

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// 64-bit floating point.
    Float64,
    /// 32-bit floating point.
    Float32,
    /// 16-bit floating point.
    Float16,
    /// 64-bit integer.
    Int64,
    /// 32-bit integer.
    Int32,
    /// 16-bit integer.
    Int16,
    /// 8-bit integer.
    Int8,
    /// 8-bit integer without a sign.
    Uint8,
    /// A byte that is 0 or 1.
    Boolean,
}

impl DataType {
    const ALL: [Self; 9] = [
        Self::Float64,
        Self::Float32,
        Self::Float16,
        Self::Int64,
        Self::Int32,
        Self::Int16,
        Self::Int8,
        Self::Uint8,
        Self::Boolean,
    ];

    fn theirs(self) -> mobile::DataType {
        mobile::DataType::ALL[self as usize]
    }

    fn ours(theirs: mobile::DataType) -> Self {
        let at = mobile::DataType::ALL.iter().position(|one| *one == theirs);
        Self::ALL[at.unwrap_or_default()]
    }
}

/// A tensor: its bytes are row-major, without gaps, in the machine's byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTensor {
    /// The input's or output's name.
    pub name: String,
    /// The type of its elements.
    pub data_type: DataType,
    /// The extents, the outermost first.
    pub shape: Vec<i32>,
    /// The elements.
    pub data: Vec<u8>,
}

impl NamedTensor {
    fn theirs(self) -> Result<mobile::NamedTensor, ModelException> {
        let shape =
            self.shape.iter().map(|&extent| u64::try_from(extent)).collect::<Result<_, _>>();
        let Ok(shape) = shape else {
            let message = format!("the input {:?} has the shape {:?}", self.name, self.shape);
            return Err(ModelException { kind: ErrorKind::WrongShape, message });
        };
        let (name, data_type) = (self.name, self.data_type.theirs());
        Ok(mobile::NamedTensor { name, data_type, shape, data: self.data })
    }

    fn ours(theirs: mobile::NamedTensor) -> Self {
        let extent = |&extent: &u64| i32::try_from(extent).unwrap_or(i32::MAX);
        let (name, data_type) = (theirs.name, DataType::ours(theirs.data_type));
        Self {
            name,
            data_type,
            shape: theirs.shape.iter().map(extent).collect(),
            data: theirs.data,
        }
    }
}

/// An extent of an input: a size, or a name if it is not fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The size, where it is fixed.
    pub size: Option<i64>,
    /// The name, where it is not.
    pub name: Option<String>,
}

/// An input of a model of tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputInfo {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub data_type: DataType,
    /// Its extents, the outermost first.
    pub shape: Vec<Extent>,
}

impl InputInfo {
    fn ours(theirs: mobile::InputInfo) -> Self {
        let extent = |theirs| match theirs {
            mobile::Extent::Fixed { size } => {
                Extent { size: Some(i64::try_from(size).unwrap_or(i64::MAX)), name: None }
            }
            mobile::Extent::Named { name } => Extent { size: None, name: Some(name) },
        };
        let shape = theirs.shape.into_iter().map(extent).collect();
        Self { name: theirs.name, data_type: DataType::ours(theirs.data_type), shape }
    }
}

/// What a model is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// `runInference`, with tensors.
    Tensors,
    /// `phonemize`, with words.
    Words,
    /// `generate`, with a prompt.
    Text,
}

/// A model in the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name to load it by.
    pub name: String,
    /// What it is called with.
    pub kind: ModelKind,
    /// The inputs of a model of tensors.
    pub inputs: Vec<InputInfo>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// The languages of a model of words; empty if it takes any.
    pub languages: Vec<String>,
    /// The most bytes of `<language>: word` that a model of words takes; else 0.
    pub max_input_bytes: i64,
    /// How many tokens a text of a language model can have, with its prompt; else 0.
    pub context_tokens: i64,
    /// How many tokens a language model knows; else 0.
    pub vocab_size: i64,
    /// Whether a language model takes and gives text.
    pub has_tokenizer: bool,
}

impl ModelInfo {
    fn ours(theirs: mobile::ModelInfo) -> Self {
        let kind = match theirs.kind {
            mobile::ModelKind::Tensors => ModelKind::Tensors,
            mobile::ModelKind::Words => ModelKind::Words,
            mobile::ModelKind::Text => ModelKind::Text,
        };
        Self {
            name: theirs.name,
            kind,
            inputs: theirs.inputs.into_iter().map(InputInfo::ours).collect(),
            outputs: theirs.outputs,
            languages: theirs.languages,
            max_input_bytes: count(theirs.max_input_bytes),
            context_tokens: count(theirs.context_tokens),
            vocab_size: count(theirs.vocab_size),
            has_tokenizer: theirs.has_tokenizer,
        }
    }
}

/// Versions of the library and of what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Of `charsiug2p-mobile`.
    pub version: String,
    /// Of TVM's compiler.
    pub tvm: String,
    /// Name of the compile target.
    pub target: String,
    /// SHA-256 of the archive, by which `harness` names a build.
    pub archive_sha256: String,
}

/// A word's phonemes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phonemes {
    /// The word's position in the call, from 0.
    pub index: u32,
    /// The word.
    pub word: String,
    /// Its phonemes.
    pub phonemes: String,
    /// How long the model took.
    pub nanoseconds: i64,
}

impl Phonemes {
    fn ours(theirs: mobile::Phonemes) -> Self {
        let nanoseconds = count(theirs.nanoseconds);
        Self { index: theirs.index, word: theirs.word, phonemes: theirs.phonemes, nanoseconds }
    }
}

/// A part of a prompt: one of the three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptPart {
    /// Text, for a model with a tokenizer. Names of special tokens in it are text like any other.
    pub text: Option<String>,
    /// A special token by its name.
    pub special: Option<String>,
    /// Token ids.
    pub tokens: Option<Vec<i32>>,
}

impl PromptPart {
    fn theirs(self) -> Result<mobile::PromptPart, ModelException> {
        match (self.text, self.special, self.tokens) {
            (Some(text), None, None) => Ok(mobile::PromptPart::Text { text }),
            (None, Some(name), None) => Ok(mobile::PromptPart::Special { name }),
            (None, None, Some(tokens)) => Ok(mobile::PromptPart::Tokens { tokens }),
            _ => Err(ModelException {
                kind: ErrorKind::BadArgument,
                message: "a part of a prompt is one of text, special and tokens".to_owned(),
            }),
        }
    }
}

/// How an answer is generated.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationOptions {
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// Texts that end the answer and are not a part of it.
    pub stop_strings: Vec<String>,
    /// 0: the best token each time. Else tokens are drawn by chance.
    pub temperature: f64,
    /// Draws from so many of the most probable tokens only; 0 means all.
    pub top_k: u32,
    /// Draws from the most probable tokens whose probabilities together reach this; 1 means all.
    pub top_p: f64,
    /// Draws from tokens that are at least this share as probable as the most probable one; 0 means all.
    pub min_p: f64,
    /// Makes tokens that the text has already less probable if it is above 1.
    pub repetition_penalty: f64,
    /// The same seed draws the same tokens from the same text. Below 0 it is 0.
    pub seed: i64,
}

impl GenerationOptions {
    fn theirs(self) -> mobile::GenerationOptions {
        mobile::GenerationOptions {
            max_tokens: self.max_tokens,
            stop_strings: self.stop_strings,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: u64::try_from(self.seed).unwrap_or_default(),
        }
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Whole characters. Empty for a model without a tokenizer.
    pub text: String,
    /// The tokens since the piece before.
    pub tokens: Vec<i32>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationEnd {
    /// It has as many tokens as were asked for.
    Length,
    /// The model gave a token that ends it.
    StopToken,
    /// It came to a stop string.
    StopString,
    /// The model's context is full.
    ContextFull,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// All pieces' text together.
    pub text: String,
    /// All tokens, with a stop token and with those of a stop string.
    pub tokens: Vec<i32>,
    /// Why it ended.
    pub ended: GenerationEnd,
    /// The stop string to which it came.
    pub stop_string: Option<String>,
    /// How many tokens were before the answer: the conversation's and the prompt's.
    pub prompt_tokens: i64,
    /// How many of them the model had not read in an earlier call.
    pub read_tokens: i64,
    /// From the start of the call until the first token was known; 0 without a token.
    pub first_token_nanoseconds: i64,
    /// How long the call took.
    pub nanoseconds: i64,
}

impl Generation {
    fn ours(theirs: mobile::Generation) -> Self {
        let ended = match theirs.ended {
            mobile::GenerationEnd::Length => GenerationEnd::Length,
            mobile::GenerationEnd::StopToken => GenerationEnd::StopToken,
            mobile::GenerationEnd::StopString => GenerationEnd::StopString,
            mobile::GenerationEnd::ContextFull => GenerationEnd::ContextFull,
        };
        Self {
            text: theirs.text,
            tokens: theirs.tokens,
            ended,
            stop_string: theirs.stop_string,
            prompt_tokens: count(theirs.prompt_tokens),
            read_tokens: count(theirs.read_tokens),
            first_token_nanoseconds: count(theirs.first_token_nanoseconds),
            nanoseconds: count(theirs.nanoseconds),
        }
    }
}

/// A text that continues from call to call.
#[frb(opaque)]
pub struct Conversation(Arc<mobile::Conversation>, Arc<mobile::Session>);

impl Conversation {
    /// All tokens: of prompts, and of answers with their stop tokens and stop strings.
    #[frb(sync)]
    #[must_use]
    pub fn tokens(&self) -> Vec<i32> {
        self.0.tokens()
    }

    /// The answer to a prompt that follows the conversation's texts.
    ///
    /// # Errors
    /// [`ModelException`].
    pub fn generate(
        &self,
        prompt: Vec<PromptPart>,
        options: GenerationOptions,
        cancellation: &Cancellation,
    ) -> Result<Generation, ModelException> {
        answer(&self.1, prompt, options, Some(&self.0), cancellation)
    }

    /// The same as a stream, piece by piece. An error ends it.
    pub fn stream_text(
        &self,
        prompt: Vec<PromptPart>,
        options: GenerationOptions,
        cancellation: &Cancellation,
        sink: StreamSink<Piece>,
    ) {
        pieces(&self.1, prompt, options, Some(&self.0), cancellation, &sink);
    }
}

/// An answer, which follows the texts of the conversation, if there is one.
fn answer(
    session: &mobile::Session,
    prompt: Vec<PromptPart>,
    options: GenerationOptions,
    conversation: Option<&Arc<mobile::Conversation>>,
    cancellation: &Cancellation,
) -> Result<Generation, ModelException> {
    let prompt = prompt.into_iter().map(PromptPart::theirs).collect::<Result<_, _>>()?;
    let (talk, cancellation) = (conversation.cloned(), Some(cancellation.0.clone()));
    Ok(Generation::ours(session.generate(prompt, options.theirs(), talk, cancellation)?))
}

/// The same in pieces.
fn pieces(
    session: &mobile::Session,
    prompt: Vec<PromptPart>,
    options: GenerationOptions,
    conversation: Option<&Arc<mobile::Conversation>>,
    cancellation: &Cancellation,
    sink: &StreamSink<Piece>,
) {
    let given = prompt.into_iter().map(PromptPart::theirs).collect::<Result<_, _>>();
    let (talk, cancellation) = (conversation.cloned(), Some(cancellation.0.clone()));
    let found = given.and_then(|prompt| {
        Ok(session.stream_text(prompt, options.theirs(), talk, cancellation)?)
    });
    let pieces = match &found {
        Ok(found) => found.pieces(),
        Err(error) => {
            let _ = sink.add_error(error.clone());
            return;
        }
    };
    for one in pieces {
        // An error of the sink means that nobody listens any more.
        let heard = match one {
            Ok(mobile::Piece { text, tokens }) => sink.add(Piece { text, tokens }),
            Err(error) => sink.add_error(ModelException::from(error)),
        };
        if heard.is_err() {
            return;
        }
    }
}

/// What came of a self-test. The answers are in its file, which `harness selftest read` compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTest {
    /// Orders that were run or refused.
    pub orders: u32,
    /// Samples that were taken.
    pub samples: i64,
    /// Why orders did not run to their end, one line per order; empty if all did.
    pub failures: Vec<String>,
}

/// Ends the calls that it was given to.
#[frb(opaque)]
pub struct Cancellation(Arc<mobile::Cancellation>);

impl Cancellation {
    /// A new one, for any number of calls.
    #[frb(sync)]
    #[must_use]
    pub fn create() -> Self {
        Self(mobile::Cancellation::new())
    }

    /// Ends the calls that it was given to.
    #[frb(sync)]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// The models of the app.
#[frb(opaque)]
pub struct ModelLibrary(Arc<mobile::ModelLibrary>);

impl ModelLibrary {
    /// The models that the library was built with.
    ///
    /// # Errors
    /// [`ModelException`].
    #[frb(sync)]
    pub fn open() -> Result<Self, ModelException> {
        Ok(Self(mobile::ModelLibrary::open()?))
    }

    /// The same with the text of `system_lib_metadata.json`, for an app whose archive is linked by other tools.
    ///
    /// # Errors
    /// [`ModelException`].
    #[frb(sync)]
    pub fn open_with_metadata(metadata: &str) -> Result<Self, ModelException> {
        Ok(Self(mobile::ModelLibrary::open_with_metadata(metadata)?))
    }

    /// All models.
    #[frb(sync)]
    #[must_use]
    pub fn models(&self) -> Vec<ModelInfo> {
        self.0.models().into_iter().map(ModelInfo::ours).collect()
    }

    /// Versions of the library and of what it holds.
    #[frb(sync)]
    #[must_use]
    pub fn versions(&self) -> Versions {
        let mobile::Versions { library, tvm, target, archive_sha256 } = self.0.versions();
        Versions { version: library, tvm, target, archive_sha256 }
    }

    /// Loads a model into a session of its own. `queue_capacity` is how many calls may wait, 1 to 1024.
    ///
    /// # Errors
    /// [`ModelException`].
    pub fn load(&self, model: &str, queue_capacity: u32) -> Result<Session, ModelException> {
        let options = mobile::SessionOptions { queue_capacity };
        Ok(Session(self.0.load(model, options)?))
    }

    /// Runs orders of `harness selftest orders` in the app, and writes the answers to the file `out`.
    ///
    /// # Errors
    /// [`ModelException`].
    pub fn self_test(&self, orders: &str, out: &str) -> Result<SelfTest, ModelException> {
        let tested = self.0.self_test(orders, out)?;
        let samples = count(tested.samples);
        Ok(SelfTest { orders: tested.orders, samples, failures: tested.failures })
    }

    /// For a low-memory signal: drops the loaded models of all sessions; their next calls load them again.
    #[frb(sync)]
    pub fn release_memory(&self) {
        self.0.release_memory();
    }
}

/// A loaded model. Calls are queued and answered in their order.
#[frb(opaque)]
pub struct Session(Arc<mobile::Session>);

impl Session {
    /// The model.
    #[frb(sync)]
    #[must_use]
    pub fn model(&self) -> ModelInfo {
        ModelInfo::ours(self.0.model())
    }

    /// Runs a model of tensors. The inputs may be in any order; the outputs are in the model's.
    ///
    /// # Errors
    /// [`ModelException`].
    pub fn run_inference(
        &self,
        inputs: Vec<NamedTensor>,
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, ModelException> {
        let inputs = inputs.into_iter().map(NamedTensor::theirs).collect::<Result<_, _>>()?;
        let outputs = self.0.run_inference(inputs, Some(cancellation.0.clone()))?;
        Ok(outputs.into_iter().map(NamedTensor::ours).collect())
    }

    /// Phonemes of words, in the words' order.
    ///
    /// # Errors
    /// [`ModelException`].
    pub fn phonemize(
        &self,
        language: &str,
        words: Vec<String>,
        cancellation: &Cancellation,
    ) -> Result<Vec<Phonemes>, ModelException> {
        let found = self.0.phonemize(language, words, Some(cancellation.0.clone()))?;
        Ok(found.into_iter().map(Phonemes::ours).collect())
    }

    /// The same as a stream, word by word. A word's error ends it.
    pub fn stream(
        &self,
        language: &str,
        words: Vec<String>,
        cancellation: &Cancellation,
        sink: StreamSink<Phonemes>,
    ) {
        let found = self.0.stream(language, words, Some(cancellation.0.clone()));
        let words = match &found {
            Ok(found) => found.words(),
            Err(error) => {
                let _ = sink.add_error(ModelException::from(error.clone()));
                return;
            }
        };
        for one in words {
            // An error of the sink means that nobody listens any more.
            let heard = match one {
                Ok(one) => sink.add(Phonemes::ours(one)),
                Err(error) => sink.add_error(ModelException::from(error)),
            };
            if heard.is_err() {
                return;
            }
        }
    }

    /// Begins a conversation with a language model.
    ///
    /// # Errors
    /// [`ModelException`].
    #[frb(sync)]
    pub fn conversation(&self) -> Result<Conversation, ModelException> {
        Ok(Conversation(self.0.conversation()?, self.0.clone()))
    }

    /// The answer of a language model to a prompt.
    ///
    /// # Errors
    /// [`ModelException`].
    pub fn generate(
        &self,
        prompt: Vec<PromptPart>,
        options: GenerationOptions,
        cancellation: &Cancellation,
    ) -> Result<Generation, ModelException> {
        answer(&self.0, prompt, options, None, cancellation)
    }

    /// The same as a stream, piece by piece. An error ends it.
    pub fn stream_text(
        &self,
        prompt: Vec<PromptPart>,
        options: GenerationOptions,
        cancellation: &Cancellation,
        sink: StreamSink<Piece>,
    ) {
        pieces(&self.0, prompt, options, None, cancellation, &sink);
    }

    /// Calls the model once with made-up input, so that its first real call is as fast as the others.
    ///
    /// # Errors
    /// [`ModelException`].
    pub fn warm_up(&self) -> Result<(), ModelException> {
        Ok(self.0.warm_up()?)
    }

    /// For a low-memory signal: drops the model; the next call loads it again.
    #[frb(sync)]
    pub fn release_memory(&self) {
        self.0.release_memory();
    }

    /// Ends the session: later calls of it fail with `Closed`.
    #[frb(sync)]
    pub fn close(&self) {
        self.0.close();
    }
}
