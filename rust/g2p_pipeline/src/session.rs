//! Greedy decoding of batches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use charsiug2p_g2p_tokenizer::{tokens, PAD};
use charsiug2p_g2p_tvm::{
    Argument, DecoderPrefixes, DeviceConfig, Function, SystemLibPrefixes, Tensor, TvmError,
    TvmModule, DEFAULT_ENTRY,
};
use charsiug2p_workload::{Output, ProbeOptions};

use crate::config::ModelConfig;
use crate::decoder::{CachedDecoder, Decoder, Encoded, FullDecoder};
use crate::error::PipelineError;
use crate::greedy;
use crate::grouping::group_by_length;
use crate::metadata::SystemLibMetadata;
use crate::outputs::{BatchResult, Timings};

/// A loaded model with its buffers. Stays on the thread that made it.
pub struct Session {
    config: ModelConfig,
    encoder: Function,
    decoder: Decoder,
    /// `[B]`: bytes of each prompt.
    lengths: Tensor,
    /// `[B, S]` for the S of the batch at hand.
    input: Tensor,
}

impl Session {
    /// Loads the linked model on the CPU.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn from_metadata(metadata: &SystemLibMetadata) -> Result<Self, PipelineError> {
        let config = metadata.config.clone();
        Self::load(config, &metadata.prefixes, DeviceConfig::cpu(), |_, _| {})
    }

    /// Loads the functions, each to its prefix; `on_load` is called for each with the time it took.
    ///
    /// # Errors
    /// [`PipelineError`]: sizes that cannot be, or a function that has no prefix or is not linked.
    pub fn load(
        config: ModelConfig,
        functions: &BTreeMap<String, String>,
        device: DeviceConfig,
        mut on_load: impl FnMut(&'static str, Duration),
    ) -> Result<Self, PipelineError> {
        let prefixes = SystemLibPrefixes::from_map(functions, config.use_kv_cache)?;
        config.check()?;
        let mut load = |name: &'static str, prefix: &str| -> Result<Function, TvmError> {
            let started = Instant::now();
            let function = TvmModule::from_system_lib(prefix)?.load_entry(device, DEFAULT_ENTRY)?;
            on_load(name, started.elapsed());
            Ok(function)
        };
        let encoder = load(charsiug2p_g2p_tvm::ENCODER, &prefixes.encoder)?;
        let decoder = match &prefixes.decoder {
            DecoderPrefixes::Full { decoder } => {
                let function = load(charsiug2p_g2p_tvm::DECODER, decoder)?;
                Decoder::Full(FullDecoder::new(function, &config)?)
            }
            DecoderPrefixes::Cached { prefill, step } => {
                let prefill = load(charsiug2p_g2p_tvm::DECODER_PREFILL, prefill)?;
                let step = load(charsiug2p_g2p_tvm::DECODER_STEP, step)?;
                Decoder::Cached(CachedDecoder::new(prefill, step, &config)?)
            }
        };
        let lengths = Tensor::zeros::<i32>(&[config.batch_size])?;
        let input = Tensor::zeros::<i32>(&[config.batch_size, config.max_input_bytes])?;
        Ok(Self { config, encoder, decoder, lengths, input })
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All prompts, in batches of the size the archive is compiled for; prompts of like lengths share
    /// a batch, and the outputs are in the order of the prompts.
    ///
    /// # Errors
    /// [`PipelineError`] of the first batch that fails.
    pub fn run_all<P: AsRef<str>>(&mut self, prompts: &[P]) -> Result<Vec<Output>, PipelineError> {
        let probe = ProbeOptions::default();
        let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.as_ref().len()).collect();
        let mut outputs: Vec<Option<Output>> = prompts.iter().map(|_| None).collect();
        for group in group_by_length(&lengths, self.config.batch_size) {
            let batch: Vec<&str> = group.iter().map(|&index| prompts[index].as_ref()).collect();
            for (index, output) in group.into_iter().zip(self.run(&batch, &probe)?.outputs) {
                outputs[index] = Some(output);
            }
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    /// One batch of checked prompts, at most `batch_size`.
    ///
    /// Words are dropped from the decoding as they finish, so that a batch costs little more than
    /// its words. The encoder repeats the last prompt in missing rows; nothing is decoded of them.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn run<P: AsRef<str>>(
        &mut self,
        prompts: &[P],
        probe: &ProbeOptions,
    ) -> Result<BatchResult, PipelineError> {
        let started = Instant::now();
        let mut timings = Timings::default();
        timings.steps.reserve_exact(self.config.max_output_len);
        let hidden = self.encode(prompts, &mut timings)?;
        let encoded = Encoded { hidden: &hidden, lengths: &self.lengths };
        let (mut decoding, prefill) = self.decoder.begin(encoded)?;
        timings.prefill = prefill;
        let outputs =
            greedy::decode(&mut decoding, prompts, &self.config, probe, &mut timings.steps)?;
        timings.total = started.elapsed();
        Ok(BatchResult { outputs, timings })
    }

    /// `[B, S, D]` for S the longest prompt's bytes.
    fn encode<P: AsRef<str>>(
        &mut self,
        prompts: &[P],
        timings: &mut Timings,
    ) -> Result<Tensor, PipelineError> {
        let batch_size = self.config.batch_size;
        let Some(last) = prompts.last().filter(|_| prompts.len() <= batch_size) else {
            return Err(PipelineError::BatchSize { given: prompts.len(), batch_size });
        };
        for prompt in prompts.iter().map(AsRef::as_ref) {
            let (size, limit) = (prompt.len(), self.config.max_input_bytes);
            if size == 0 || size > limit {
                return Err(PipelineError::PromptSize { prompt: prompt.to_owned(), size, limit });
            }
        }
        let row = |at: usize| prompts.get(at).unwrap_or(last).as_ref();
        let longest = prompts.iter().map(|prompt| prompt.as_ref().len()).max().unwrap_or(1);
        self.input.set_shape(&[batch_size, longest])?;
        let cells = self.input.as_mut_slice::<i32>()?;
        for (at, cells) in cells.chunks_exact_mut(longest).enumerate() {
            let ids = tokens(row(at)).chain(std::iter::repeat(PAD));
            cells.iter_mut().zip(ids).for_each(|(cell, id)| *cell = id);
        }
        for (at, length) in self.lengths.as_mut_slice::<i32>()?.iter_mut().enumerate() {
            *length = i32::try_from(row(at).len()).unwrap_or(i32::MAX);
        }
        let started = Instant::now();
        let hidden = self
            .encoder
            .call_tensor(&[Argument::Tensor(&self.input), Argument::Tensor(&self.lengths)])?;
        timings.encoder = started.elapsed();
        Ok(hidden)
    }
}
