//! Greedy decoding of batches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use charsiug2p_g2p_tokenizer::{decode, tokens, PAD};
use charsiug2p_g2p_tvm::{
    Argument, DecoderPrefixes, DeviceConfig, Function, SystemLibPrefixes, Tensor, TvmError,
    TvmModule, DEFAULT_ENTRY,
};

use crate::config::ModelConfig;
use crate::decoder::{CachedDecoder, Decoder, Encoded, FullDecoder, Logits};
use crate::error::PipelineError;
use crate::metadata::SystemLibMetadata;

/// What to keep of the logits besides the tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeOptions {
    /// Best minus second-best logit of every step.
    pub margins: bool,
    /// Steps whose logits are kept whole; steps an output does not reach are left out.
    pub logit_steps: Vec<usize>,
}

/// What the model answered for one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct WordOutput {
    /// Generated ids with the end token, without the start token.
    pub token_ids: Vec<i32>,
    /// Their text.
    pub text: String,
    /// Best minus second-best logit of every step, where asked for.
    pub margins: Option<Vec<f32>>,
    /// Logits of the steps asked for.
    pub logits: Option<BTreeMap<usize, Vec<f32>>>,
}

/// How long a batch took; monotonic, around the calls themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    /// From before tokenization to after the last text.
    pub total: Duration,
    /// The encoder's call.
    pub encoder: Duration,
    /// The prefill's call; none without a cache.
    pub prefill: Option<Duration>,
    /// Each decoder call.
    pub steps: Vec<Duration>,
}

/// A batch's outputs, one for each prompt given, and its times.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchResult {
    /// In the order of the prompts.
    pub outputs: Vec<WordOutput>,
    /// Of the whole batch.
    pub timings: Timings,
}

/// A loaded model with its buffers. Stays on the thread that made it.
pub struct Session {
    config: ModelConfig,
    encoder: Function,
    decoder: Decoder,
    /// `[B]`: bytes of each prompt.
    lengths: Tensor,
    /// Encoder inputs `[B, S]` by length, made when first needed.
    inputs: Vec<Option<Tensor>>,
}

impl Session {
    /// Loads the linked model on the CPU.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn from_metadata(metadata: &SystemLibMetadata) -> Result<Self, PipelineError> {
        let prefixes = metadata.system_lib_prefixes()?;
        Self::load(metadata.model_config()?, &prefixes, DeviceConfig::cpu(), |_, _| {})
    }

    /// Loads the functions under these prefixes; `on_load` hears of each with the time it took.
    ///
    /// # Errors
    /// [`PipelineError`]: sizes that cannot be, or a function that is not linked.
    pub fn load(
        config: ModelConfig,
        prefixes: &SystemLibPrefixes,
        device: DeviceConfig,
        mut on_load: impl FnMut(&'static str, Duration),
    ) -> Result<Self, PipelineError> {
        let cached = matches!(prefixes.decoder, DecoderPrefixes::Cached { .. });
        config.check(cached)?;
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
                Decoder::Full(FullDecoder::new(function, &config))
            }
            DecoderPrefixes::Cached { prefill, step } => {
                let prefill = load(charsiug2p_g2p_tvm::DECODER_PREFILL, prefill)?;
                let step = load(charsiug2p_g2p_tvm::DECODER_STEP, step)?;
                Decoder::Cached(CachedDecoder::new(prefill, step, &config)?)
            }
        };
        let lengths = Tensor::zeros::<i32>(&[config.batch_size])?;
        let inputs = (0..config.max_input_bytes).map(|_| None).collect();
        Ok(Self { config, encoder, decoder, lengths, inputs })
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// All prompts, in batches of the size the archive is compiled for.
    ///
    /// # Errors
    /// [`PipelineError`] of the first batch that fails.
    pub fn run_all<P: AsRef<str>>(
        &mut self,
        prompts: &[P],
    ) -> Result<Vec<WordOutput>, PipelineError> {
        let probe = ProbeOptions::default();
        let mut outputs = Vec::with_capacity(prompts.len());
        for batch in prompts.chunks(self.config.batch_size) {
            outputs.extend(self.run(batch, &probe)?.outputs);
        }
        Ok(outputs)
    }

    /// One batch of checked prompts, at most `batch_size`; missing rows repeat the last prompt.
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
        timings.prefill = self.decoder.begin(&encoded)?;

        let mut rows: Vec<Row> = prompts.iter().map(|_| Row::new(&self.config, probe)).collect();
        let mut next = vec![self.config.decoder_start_token_id; self.config.batch_size];
        for position in 0..self.config.max_output_len {
            let (logits, took) = self.decoder.step(position, &next, &encoded)?;
            timings.steps.push(took);
            for (at, row) in rows.iter_mut().enumerate() {
                next[at] = row
                    .advance(at, &logits, &self.config, probe)
                    .map_err(|error| error.describe(position, prompts[at].as_ref()))?;
            }
            if rows.iter().all(|row| row.finished) {
                break;
            }
            // Rows without a prompt repeat the last one, so that they cost what a full batch costs.
            let last = next[rows.len() - 1];
            next[rows.len()..].fill(last);
        }
        let outputs = rows.into_iter().map(Row::into_output).collect();
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
        let input = match &mut self.inputs[longest - 1] {
            Some(input) => input,
            empty => empty.insert(Tensor::zeros::<i32>(&[batch_size, longest])?),
        };
        for (at, cells) in input.as_mut_slice::<i32>()?.chunks_exact_mut(longest).enumerate() {
            let ids = tokens(row(at)).chain(std::iter::repeat(PAD));
            cells.iter_mut().zip(ids).for_each(|(cell, id)| *cell = id);
        }
        for (at, length) in self.lengths.as_mut_slice::<i32>()?.iter_mut().enumerate() {
            *length = i32::try_from(row(at).len()).unwrap_or(i32::MAX);
        }
        let started = Instant::now();
        let hidden = self
            .encoder
            .call_tensor(&[Argument::Tensor(input), Argument::Tensor(&self.lengths)])?;
        timings.encoder = started.elapsed();
        Ok(hidden)
    }
}

/// Why a row could not advance, before its prompt is known.
enum RowError {
    Tvm(TvmError),
    NotFinite(f32),
}

impl RowError {
    fn describe(self, step: usize, prompt: &str) -> PipelineError {
        match self {
            Self::Tvm(error) => PipelineError::Tvm(error),
            Self::NotFinite(value) => PipelineError::NotFinite {
                step,
                prompt: prompt.to_owned(),
                value: value.to_string(),
            },
        }
    }
}

/// The output of one prompt while it grows.
struct Row {
    token_ids: Vec<i32>,
    margins: Option<Vec<f32>>,
    logits: Option<BTreeMap<usize, Vec<f32>>>,
    finished: bool,
}

impl Row {
    fn new(config: &ModelConfig, probe: &ProbeOptions) -> Self {
        Self {
            token_ids: Vec::with_capacity(config.max_output_len),
            margins: probe.margins.then(|| Vec::with_capacity(config.max_output_len)),
            logits: (!probe.logit_steps.is_empty()).then(BTreeMap::new),
            finished: false,
        }
    }

    /// Takes this step's token; the token to feed next, which is padding after the end.
    fn advance(
        &mut self,
        at: usize,
        logits: &Logits,
        config: &ModelConfig,
        probe: &ProbeOptions,
    ) -> Result<i32, RowError> {
        if self.finished {
            return Ok(PAD);
        }
        let logits = logits.row(at).map_err(RowError::Tvm)?;
        let top = TopTwo::of(logits)?;
        let step = self.token_ids.len();
        if let Some(margins) = &mut self.margins {
            margins.push(top.margin());
        }
        let wanted = probe.logit_steps.contains(&step);
        if let Some(kept) = self.logits.as_mut().filter(|_| wanted) {
            kept.insert(step, logits.to_vec());
        }
        self.token_ids.push(top.index);
        self.finished = top.index == config.eos_token_id;
        Ok(if self.finished { PAD } else { top.index })
    }

    fn into_output(self) -> WordOutput {
        let text = decode(&self.token_ids);
        WordOutput { token_ids: self.token_ids, text, margins: self.margins, logits: self.logits }
    }
}

/// The best logit (the first of equals, as PyTorch's argmax) and the second best.
struct TopTwo {
    index: i32,
    best: f32,
    second: f32,
}

impl TopTwo {
    fn of(logits: &[f32]) -> Result<Self, RowError> {
        let mut top = Self { index: 0, best: f32::NEG_INFINITY, second: f32::NEG_INFINITY };
        for (index, &logit) in (0_i32..).zip(logits) {
            if !logit.is_finite() {
                return Err(RowError::NotFinite(logit));
            }
            if logit > top.best {
                top = Self { index, best: logit, second: top.best };
            } else if logit > top.second {
                top.second = logit;
            }
        }
        Ok(top)
    }

    /// Zero for a vocabulary of one, where nothing competes.
    fn margin(&self) -> f32 {
        if self.second.is_finite() {
            self.best - self.second
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(logits: &[f32]) -> (i32, f32) {
        let Ok(top) = TopTwo::of(logits) else { panic!("{logits:?}") };
        (top.index, top.margin())
    }

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(top(&[0.0, 2.0, 2.0, 1.0]), (1, 0.0));
        assert_eq!(top(&[3.0, 2.0, 2.5]), (0, 0.5));
        assert_eq!(top(&[-3.0, -2.0, -2.5]), (1, 0.5));
        assert_eq!(top(&[7.0]), (0, 0.0));
    }

    #[test]
    fn logits_that_are_no_numbers_are_errors() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(matches!(TopTwo::of(&[0.0, bad]), Err(RowError::NotFinite(_))));
        }
    }
}
