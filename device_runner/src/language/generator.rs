//! The loop: a prompt in blocks, then a token a step, over one cache that is written in place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use charsiug2p_g2p_tvm::TvmError;
use charsiug2p_language::{BadStep, Cache, Decoder};
use charsiug2p_workload::{
    divergence, log_probability, margin, top_two, Ended, Output, ProbeOptions, Sampler,
};

use super::item::{Behind, Item};
use super::LanguageOrder;

/// How long a generation took.
#[derive(Default)]
pub struct Times {
    pub total: Duration,
    /// Nanoseconds of each block of the prompt.
    pub prefills: Vec<u64>,
    /// Nanoseconds of each step.
    pub steps: Vec<u64>,
}

/// A model, and the cache that all prompts share.
pub struct Generator {
    decoder: Decoder,
    /// Need not be cleared between prompts: nothing beyond a row's own position is read.
    cache: Cache,
    new_tokens: usize,
    stop_tokens: Vec<i32>,
    sampler: Option<Sampler>,
}

impl Generator {
    pub fn new(
        decoder: Decoder,
        order: &LanguageOrder,
        sampler: Option<Sampler>,
    ) -> Result<Self, TvmError> {
        Ok(Self {
            cache: decoder.cache()?,
            decoder,
            sampler,
            new_tokens: order.new_tokens,
            stop_tokens: order.stop_tokens.clone(),
        })
    }

    /// The tokens behind a checked prompt. Nothing is allocated for a step.
    ///
    /// Tokens that are forced are fed where the model's own would be: the answer's tokens are then the model's choices
    /// behind another text than its own, one for each, with the probability of the token that was fed.
    pub fn generate(
        &mut self,
        item: &Item,
        probe: &ProbeOptions,
    ) -> Result<(Output, Times), BadStep> {
        let started = Instant::now();
        let mut times = Times::default();
        let size = self.decoder.sizes().block;
        times.prefills.reserve_exact(item.prompt.len() / size + 1);
        let (count, forced) = match &item.behind {
            Behind::Own => (self.new_tokens, None),
            Behind::Exactly(count) => (*count, None),
            Behind::Forced(forced) => (forced.tokens.len(), Some(forced)),
        };
        times.steps.reserve_exact(count);
        let mut answer = Answer::new(count, probe);
        answer.log_probabilities = forced.map(|_| Vec::with_capacity(count));
        let (&last, before) = item.prompt.split_last().ok_or(BadStep::Empty)?;
        for (number, block) in before.chunks(size).enumerate() {
            times.prefills.push(self.decoder.prefill(&mut self.cache, block, number * size)?);
        }
        // The prompt's last token is the first step's.
        let mut fed = last;
        if let Some(sampler) = &mut self.sampler {
            sampler.begin(&item.prompt);
        }
        for step in 0..count {
            let (best, took) = self.decoder.step(&mut self.cache, fed, before.len() + step)?;
            times.steps.push(took);
            let logits = self.decoder.logits()?;
            answer.take(step, best, logits, probe)?;
            fed = if let Some(&given) = forced.and_then(|forced| forced.tokens.get(step)) {
                answer.weigh(step, given, logits)?;
                answer.diverge(step, forced.and_then(|forced| forced.top(step)), logits)?;
                given
            } else if let Some(sampler) = &mut self.sampler {
                let drawn = sampler.choose(logits);
                answer.instead(drawn.map_err(|reason| BadStep::NotDrawn { step, reason })?)
            } else {
                best
            };
            if item.behind == Behind::Own && self.stop_tokens.contains(&fed) {
                answer.ended = Some(Ended::StopToken);
                break;
            }
        }
        if forced.is_none() {
            answer.ended.get_or_insert(Ended::Length);
        }
        times.total = started.elapsed();
        Ok((answer.into_output(), times))
    }
}

/// The output of one prompt while it grows.
struct Answer {
    token_ids: Vec<i32>,
    margins: Option<Vec<f32>>,
    logits: Option<BTreeMap<usize, Vec<f32>>>,
    log_probabilities: Option<Vec<f32>>,
    divergences: Option<Vec<f32>>,
    ended: Option<Ended>,
}

impl Answer {
    fn new(count: usize, probe: &ProbeOptions) -> Self {
        Self {
            token_ids: Vec::with_capacity(count),
            margins: probe.margins.then(|| Vec::with_capacity(count)),
            logits: (!probe.logit_steps.is_empty()).then(BTreeMap::new),
            log_probabilities: None,
            divergences: None,
            ended: None,
        }
    }

    /// Keeps how probable a step's logits `[V]` make the token that is fed next.
    fn weigh(&mut self, step: usize, fed: i32, logits: &[f32]) -> Result<(), BadStep> {
        let index = usize::try_from(fed).map_err(|_| BadStep::NoToken { step, token: fed })?;
        let found = log_probability(logits, index);
        let found = found.ok_or(BadStep::NotFinite { step, value: f32::NAN })?;
        self.log_probabilities.get_or_insert_with(Vec::new).push(found);
        Ok(())
    }

    /// Takes a step's token and logits `[V]`.
    fn take(
        &mut self,
        step: usize,
        token: i32,
        logits: &[f32],
        probe: &ProbeOptions,
    ) -> Result<(), BadStep> {
        let of_token = usize::try_from(token).ok().and_then(|token| logits.get(token));
        let logit = *of_token.ok_or(BadStep::NoToken { step, token })?;
        if !logit.is_finite() {
            return Err(BadStep::NotFinite { step, value: logit });
        }
        if let Some(margins) = &mut self.margins {
            let (best, second) =
                top_two(logits).map_err(|value| BadStep::NotFinite { step, value })?;
            if logit < best {
                return Err(BadStep::NotBest { step, token });
            }
            margins.push(margin(best, second));
        }
        if let Some(kept) = self.logits.as_mut().filter(|_| probe.logit_steps.contains(&step)) {
            if let Some(&value) = logits.iter().find(|logit| !logit.is_finite()) {
                return Err(BadStep::NotFinite { step, value });
            }
            kept.insert(step, logits.to_vec());
        }
        self.token_ids.push(token);
        Ok(())
    }

    /// Keeps how far a step's logits `[V]` are from the distribution that is known at some tokens.
    fn diverge(
        &mut self,
        step: usize,
        top: Option<(&[i32], &[f32])>,
        logits: &[f32],
    ) -> Result<(), BadStep> {
        if let Some((tokens, logarithms)) = top {
            let found = divergence(logits, tokens, logarithms);
            let found = found.ok_or(BadStep::NotFinite { step, value: f32::NAN })?;
            self.divergences.get_or_insert_with(Vec::new).push(found);
        }
        Ok(())
    }

    /// Has the token that was drawn instead of the best one, and returns it.
    fn instead(&mut self, drawn: i32) -> i32 {
        if let Some(last) = self.token_ids.last_mut() {
            *last = drawn;
        }
        drawn
    }

    /// Without text, since nothing here knows a tokenizer.
    fn into_output(self) -> Output {
        let Self { token_ids, margins, logits, log_probabilities, divergences, ended } = self;
        let text = String::new();
        Output { token_ids, text, margins, logits, log_probabilities, divergences, ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(token: i32, logits: &[f32]) -> Result<Output, String> {
        let probe = ProbeOptions { margins: true, logit_steps: vec![0] };
        let mut answer = Answer::new(1, &probe);
        answer.take(0, token, logits, &probe).map_err(|error| error.to_string())?;
        Ok(answer.into_output())
    }

    #[test]
    fn a_token_is_kept_with_its_margin_and_logits() {
        let output = taken(1, &[0.5, 2.0, 1.5]).unwrap();
        assert_eq!((output.token_ids, output.margins), (vec![1], Some(vec![0.5])));
        assert_eq!(output.logits.unwrap()[&0], [0.5, 2.0, 1.5]);
    }

    #[test]
    fn a_token_that_is_fed_is_weighed() {
        let mut answer = Answer::new(1, &ProbeOptions::default());
        answer.weigh(0, 2, &[0.0, 1.0, 2.0]).unwrap();
        let found = answer.into_output().log_probabilities.unwrap();
        // 2 - ln(1 + e + e^2)
        assert!((found[0] + 0.407_606).abs() < 1e-6, "{found:?}");
        let mut answer = Answer::new(1, &ProbeOptions::default());
        assert!(answer.weigh(0, 3, &[0.0; 3]).is_err());
        assert!(answer.weigh(0, -1, &[0.0; 3]).is_err());
        assert!(answer.weigh(0, 0, &[f32::NAN; 3]).is_err());
    }

    #[test]
    fn what_cannot_be_an_answer_is_named() {
        for (token, logits, reason) in [
            (3, [0.0; 3], "token 3, outside the vocabulary"),
            (-1, [0.0; 3], "token -1, outside the vocabulary"),
            (0, [f32::NAN, 0.0, 0.0], "hold NaN"),
            (0, [0.0, f32::INFINITY, 0.0], "hold inf"),
            (0, [0.0, 1.0, 0.0], "token 0, which is not its best logit"),
        ] {
            let error = taken(token, &logits).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
