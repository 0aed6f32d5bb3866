//! The greedy loop: words are decoded together and dropped as they finish.

use std::collections::BTreeMap;
use std::time::Duration;

use charsiug2p_g2p_tokenizer::decode as text;
use charsiug2p_g2p_tvm::TvmError;
use charsiug2p_workload::{margin, top_two, Output, ProbeOptions};

use crate::config::ModelConfig;
use crate::error::PipelineError;

/// What the loop needs of a decoder.
pub(crate) trait Steps {
    /// Feeds `tokens[slot]` at `position` of the batch's row `rows[slot]`; the next tokens take
    /// their place. From one step to the next rows only go away. The time of the call.
    fn step(
        &mut self,
        position: usize,
        tokens: &mut [i32],
        rows: &[i32],
    ) -> Result<Duration, TvmError>;

    /// Logits `[V]` of the last step.
    fn logits(&self, slot: usize) -> Result<&[f32], TvmError>;
}

/// Decodes the prompts, which are the first rows of a prepared batch; `times` gets each step's.
pub(crate) fn decode<P: AsRef<str>>(
    steps: &mut impl Steps,
    prompts: &[P],
    config: &ModelConfig,
    probe: &ProbeOptions,
    times: &mut Vec<Duration>,
) -> Result<Vec<Output>, PipelineError> {
    let mut words: Vec<Word> = prompts.iter().map(|_| Word::new(config, probe)).collect();
    let mut tokens = vec![config.decoder_start_token_id; prompts.len()];
    let mut rows: Vec<i32> = (0_i32..).take(prompts.len()).collect();
    for position in 0..config.max_output_len {
        times.push(steps.step(position, &mut tokens, &rows)?);
        // From the end, so that a word that takes a finished one's slot has been seen to.
        for slot in (0..rows.len()).rev() {
            let row = usize::try_from(rows[slot]).unwrap_or(0);
            let finished = words[row]
                .advance(tokens[slot], steps.logits(slot)?, config, probe)
                .map_err(|error| error.describe(position, prompts[row].as_ref(), config))?;
            if finished {
                rows.swap_remove(slot);
                tokens.swap_remove(slot);
            }
        }
        if rows.is_empty() {
            break;
        }
    }
    Ok(words.into_iter().map(Word::into_output).collect())
}

/// What is wrong with a step's answer for a word.
#[derive(Debug, Clone, Copy, PartialEq)]
enum BadStep {
    NotFinite(f32),
    NoToken(i32),
    NotBest(i32),
}

impl BadStep {
    fn describe(self, step: usize, prompt: &str, config: &ModelConfig) -> PipelineError {
        let (prompt, vocab_size) = (prompt.to_owned(), config.vocab_size);
        match self {
            Self::NotFinite(value) => {
                PipelineError::NotFinite { step, prompt, value: value.to_string() }
            }
            Self::NoToken(token) => PipelineError::NoToken { step, prompt, token, vocab_size },
            Self::NotBest(token) => PipelineError::NotBest { step, prompt, token },
        }
    }
}

/// The output of one prompt while it grows.
struct Word {
    token_ids: Vec<i32>,
    margins: Option<Vec<f32>>,
    logits: Option<BTreeMap<usize, Vec<f32>>>,
}

impl Word {
    fn new(config: &ModelConfig, probe: &ProbeOptions) -> Self {
        Self {
            token_ids: Vec::with_capacity(config.max_output_len),
            margins: probe.margins.then(|| Vec::with_capacity(config.max_output_len)),
            logits: (!probe.logit_steps.is_empty()).then(BTreeMap::new),
        }
    }

    /// Takes this step's token and logits `[V]`; whether it was the last.
    fn advance(
        &mut self,
        token: i32,
        logits: &[f32],
        config: &ModelConfig,
        probe: &ProbeOptions,
    ) -> Result<bool, BadStep> {
        let of_token = usize::try_from(token).ok().and_then(|token| logits.get(token));
        let logit = *of_token.ok_or(BadStep::NoToken(token))?;
        if !logit.is_finite() {
            return Err(BadStep::NotFinite(logit));
        }
        if let Some(margins) = &mut self.margins {
            let (best, second) = top_two(logits).map_err(BadStep::NotFinite)?;
            if logit < best {
                return Err(BadStep::NotBest(token));
            }
            margins.push(margin(best, second));
        }
        let step = self.token_ids.len();
        if let Some(kept) = self.logits.as_mut().filter(|_| probe.logit_steps.contains(&step)) {
            if let Some(&logit) = logits.iter().find(|logit| !logit.is_finite()) {
                return Err(BadStep::NotFinite(logit));
            }
            kept.insert(step, logits.to_vec());
        }
        self.token_ids.push(token);
        Ok(token == config.eos_token_id)
    }

    fn into_output(self) -> Output {
        let text = text(&self.token_ids);
        // Without the room for longer words: callers may keep many.
        let token_ids = self.token_ids.as_slice().to_vec();
        Output {
            token_ids,
            text,
            margins: self.margins,
            logits: self.logits,
            log_probabilities: None,
            divergences: None,
            ended: None,
        }
    }
}

/// The token of the best logit, the first of equals, as PyTorch's argmax.
pub(crate) fn best(logits: &[f32]) -> i32 {
    let first = (0, f32::NEG_INFINITY);
    let best =
        (0_i32..).zip(logits).fold(
            first,
            |best, (token, &logit)| {
                if logit > best.1 {
                    (token, logit)
                } else {
                    best
                }
            },
        );
    best.0
}

#[cfg(test)]
#[path = "greedy_tests.rs"]
mod tests;
