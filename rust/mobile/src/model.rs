//! Loaded models: what runs on a worker's thread.

use std::time::Instant;

use charsiug2p_g2p_pipeline::{PipelineError, Session as Decoder, SystemLibMetadata};
use charsiug2p_g2p_tvm::{Argument, DeviceConfig, Function, TvmModule, DEFAULT_ENTRY};
use charsiug2p_workload::{nanoseconds, ProbeOptions};

use crate::error::MobileError;
use crate::metadata::{ModelEntry, ModelInfo, ModelKind, Source};
use crate::reasons::{while_loading, while_running};
use crate::tensor::{from_tvm, in_order, to_tvm, NamedTensor};
use crate::text_model::TextModel;
use crate::worker::Model;

/// Frees the buffers in the pools of TVM's that no tensor uses.
const TRIM: &str = "vm.builtin.memory_manager.clear";

/// A model of any kind.
pub(crate) enum Loaded {
    Tensors(TensorModel),
    Words(Box<WordModel>),
    Text(Box<TextModel>),
}

impl Model for Loaded {
    fn trim() {
        // A runtime without the function keeps its pools, which a later model uses.
        let _ = Function::global(TRIM).and_then(|clear| clear.call(&[]));
    }

    fn tidy(&mut self) {
        if let Self::Text(model) = self {
            model.tidy();
        }
    }
}

impl Loaded {
    /// Takes the model from the library.
    ///
    /// # Errors
    /// [`MobileError`]: not linked, damaged, or too little memory.
    pub fn load(entry: &ModelEntry) -> Result<Self, MobileError> {
        let name = &entry.info.name;
        match &entry.source {
            Source::Tensors { prefix } => {
                let module = TvmModule::from_system_lib(prefix);
                let function =
                    module.and_then(|module| module.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY));
                let function = function.map_err(|error| while_loading(name, &error))?;
                Ok(Self::Tensors(TensorModel { info: entry.info.clone(), function }))
            }
            Source::Words(metadata) => {
                WordModel::load(name, metadata).map(|model| Self::Words(Box::new(model)))
            }
            Source::Text(source) => {
                TextModel::load(name, source).map(|model| Self::Text(Box::new(model)))
            }
        }
    }

    /// Runs a model of tensors; one of another kind was refused before it was asked.
    pub fn run(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, MobileError> {
        match self {
            Self::Tensors(model) => model.run(inputs),
            other => Err(other.wrong_kind()),
        }
    }

    /// Runs a model of words; one of another kind was refused before it was asked.
    pub fn spell(&mut self, prompt: &str) -> Result<Spelled, MobileError> {
        match self {
            Self::Words(model) => model.spell(prompt),
            other => Err(other.wrong_kind()),
        }
    }

    /// The model of texts; one of another kind was refused before it was asked.
    pub fn text(&mut self) -> Result<&mut TextModel, MobileError> {
        match self {
            Self::Text(model) => Ok(model),
            other => Err(other.wrong_kind()),
        }
    }

    fn wrong_kind(&self) -> MobileError {
        match self {
            Self::Tensors(model) => wrong_kind(&model.info.name, ModelKind::Tensors),
            Self::Words(model) => wrong_kind(&model.name, ModelKind::Words),
            Self::Text(model) => wrong_kind(model.name(), ModelKind::Text),
        }
    }
}

/// The error for a call that a model of this kind does not answer.
pub(crate) fn wrong_kind(model: &str, kind: ModelKind) -> MobileError {
    let takes = match kind {
        ModelKind::Tensors => "tensors",
        ModelKind::Words => "words",
        ModelKind::Text => "prompts",
    };
    MobileError::WrongKind { model: model.to_owned(), takes: takes.to_owned() }
}

/// A model from tensors to tensors.
pub(crate) struct TensorModel {
    info: ModelInfo,
    function: Function,
}

impl TensorModel {
    fn run(&self, given: &[NamedTensor]) -> Result<Vec<NamedTensor>, MobileError> {
        let name = &self.info.name;
        let failed = |error| while_running(name, &error);
        let inputs = in_order(&self.info.inputs, given)?;
        let inputs =
            inputs.into_iter().map(to_tvm).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let arguments: Vec<Argument<'_>> = inputs.iter().map(Argument::Tensor).collect();
        let value = self.function.call(&arguments).map_err(failed)?;
        let outputs = value.into_tensors().map_err(failed)?;
        if outputs.len() != self.info.outputs.len() {
            let (found, named) = (outputs.len(), self.info.outputs.len());
            let message = format!("it returned {found} tensors, its metadata names {named}");
            return Err(MobileError::ModelFailed { model: name.clone(), message });
        }
        let named = self.info.outputs.iter().zip(&outputs);
        named.map(|(output, tensor)| from_tvm(output, tensor).map_err(failed)).collect()
    }
}

/// A model from words to phonemes.
pub(crate) struct WordModel {
    name: String,
    decoder: Decoder,
}

/// A word's phonemes, and how long they took.
pub(crate) struct Spelled {
    pub phonemes: String,
    pub nanoseconds: u64,
}

impl WordModel {
    fn load(name: &str, metadata: &SystemLibMetadata) -> Result<Self, MobileError> {
        let decoder = Decoder::from_metadata(metadata).map_err(|error| match error {
            PipelineError::Tvm(error) => while_loading(name, &error),
            other => MobileError::BadMetadata { message: other.to_string() },
        })?;
        Ok(Self { name: name.to_owned(), decoder })
    }

    fn spell(&mut self, prompt: &str) -> Result<Spelled, MobileError> {
        let started = Instant::now();
        let mut result =
            self.decoder.run(&[prompt], &ProbeOptions::default()).map_err(|error| match error {
                PipelineError::Tvm(error) => while_running(&self.name, &error),
                other => MobileError::ModelFailed {
                    model: self.name.clone(),
                    message: other.to_string(),
                },
            })?;
        let message = || "it answered no word".to_owned();
        let output = result.outputs.pop();
        let output = output.ok_or_else(|| MobileError::ModelFailed {
            model: self.name.clone(),
            message: message(),
        })?;
        Ok(Spelled { phonemes: output.text, nanoseconds: nanoseconds(started.elapsed()) })
    }
}
