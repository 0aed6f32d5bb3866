//! A token by chance instead of the best one: from a step's logits, with a seed.
//!
//! Scores are changed and tokens left out as transformers' logits processors do it, in the order of its `generate`:
//! repetition penalty, temperature, top-k, top-p, min-p. The chance is our own: SplitMix64, and an exponential function
//! made of additions and multiplications, so that the same logits and the same seed give the same tokens on every
//! machine. PyTorch's generator gives others.

mod chance;

use std::cmp::Ordering;
use std::fmt;

use serde::Deserialize;

use chance::{exp, SplitMix64};

/// How many of the most probable tokens top-p sorts first.
const FIRST_SORTED: usize = 64;

/// How a token is chosen. What an order leaves out changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingOptions {
    /// Divides all scores: below 1 the probable tokens become more probable.
    pub temperature: f64,
    /// Only so many of the most probable tokens, and those with the score of the last of them; 0 means all.
    pub top_k: usize,
    /// Only the most probable tokens whose probabilities together reach this.
    pub top_p: f64,
    /// Only tokens that are at least this share as probable as the most probable one.
    pub min_p: f64,
    /// Divides the positive scores of tokens that the text has already, and multiplies the negative ones.
    pub repetition_penalty: f64,
    /// The beginning of the random numbers of every text.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl SamplingOptions {
    /// Checks the limits.
    ///
    /// # Errors
    /// The first option that is outside of its own.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in
            [("temperature", self.temperature), ("repetition_penalty", self.repetition_penalty)]
        {
            #[allow(clippy::cast_possible_truncation)] // Scores are float32.
            let single = value as f32;
            if !(single > 0.0 && single.is_finite()) {
                return Err(format!("{name} is {value}, it must be a number above 0"));
            }
        }
        for (name, value) in [("top_p", self.top_p), ("min_p", self.min_p)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name} is {value}, it must be from 0 to 1"));
            }
        }
        Ok(())
    }
}

/// Logits from which no token can be drawn. transformers' sampling raises an error for the same ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BadLogits {
    /// A score is no number, or above all numbers.
    Value(f32),
    /// No score is above minus infinity.
    Nothing,
    /// There are as many logits, and another number of tokens.
    Count(usize),
}

impl fmt::Display for BadLogits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "the scores hold {value}"),
            Self::Nothing => f.write_str("no token has a score above minus infinity"),
            Self::Count(count) => write!(f, "{count} logits, which is not the vocabulary"),
        }
    }
}

/// Draws the tokens of a text. Its buffers are allocated once; a step allocates nothing.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplingOptions,
    random: SplitMix64,
    /// Whether the text has a token, `[V]`.
    seen: Vec<bool>,
    /// The scores of the current step, `[V]`; minus infinity for a token that is left out.
    scores: Vec<f32>,
    /// Scores or tokens to be sorted, `[V]`.
    sorted: Vec<f32>,
    order: Vec<u32>,
    /// Probabilities but for a common factor, `[V]`.
    weights: Vec<f64>,
}

impl Sampler {
    /// A sampler for a vocabulary of so many tokens.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn new(options: SamplingOptions, vocab_size: usize) -> Result<Self, String> {
        options.check()?;
        Ok(Self {
            options,
            random: SplitMix64::new(options.seed),
            seen: vec![false; vocab_size],
            scores: vec![0.0; vocab_size],
            sorted: vec![0.0; vocab_size],
            order: Vec::with_capacity(vocab_size),
            weights: vec![0.0; vocab_size],
        })
    }

    /// Begins a text with the tokens of a prompt, and the random numbers from the seed.
    pub fn begin(&mut self, prompt: &[i32]) {
        self.random = SplitMix64::new(self.options.seed);
        self.seen.fill(false);
        for &token in prompt {
            self.see(token);
        }
    }

    /// Draws the next token, which the text then has.
    ///
    /// # Errors
    /// [`BadLogits`].
    pub fn choose(&mut self, logits: &[f32]) -> Result<i32, BadLogits> {
        self.process(logits)?;
        let total = self.weigh();
        let wanted = self.random.fraction() * total;
        let mut reached = 0.0;
        let mut found = None;
        for (token, &weight) in (0_i32..).zip(&self.weights) {
            if weight > 0.0 {
                // The last one, should rounding leave the sum below what is wanted.
                found = Some(token);
                reached += weight;
                if reached > wanted {
                    break;
                }
            }
        }
        let token = found.ok_or(BadLogits::Nothing)?;
        self.see(token);
        Ok(token)
    }

    /// The token with the best score, the first of equal ones, which the text then has. Of the options only the repetition
    /// penalty can make it another one than that of the best logit.
    ///
    /// # Errors
    /// [`BadLogits`].
    pub fn choose_best(&mut self, logits: &[f32]) -> Result<i32, BadLogits> {
        self.process(logits)?;
        let best = self.best();
        let at = self.scores.iter().position(|&score| score >= best);
        let token = at.and_then(|at| i32::try_from(at).ok()).ok_or(BadLogits::Nothing)?;
        self.see(token);
        Ok(token)
    }

    /// The scores `[V]` from which a step's token is drawn; minus infinity for those that are left out.
    ///
    /// # Errors
    /// [`BadLogits`].
    pub fn process(&mut self, logits: &[f32]) -> Result<&[f32], BadLogits> {
        if logits.len() != self.scores.len() {
            return Err(BadLogits::Count(logits.len()));
        }
        self.scores.copy_from_slice(logits);
        self.penalize();
        self.cool();
        let bad = self.scores.iter().find(|score| score.is_nan() || **score == f32::INFINITY);
        if let Some(&value) = bad {
            return Err(BadLogits::Value(value));
        }
        if self.best() == f32::NEG_INFINITY {
            return Err(BadLogits::Nothing);
        }
        self.keep_top_k();
        self.keep_top_p();
        self.keep_min_p();
        Ok(&self.scores)
    }

    fn see(&mut self, token: i32) {
        let index = usize::try_from(token).ok();
        if let Some(seen) = index.and_then(|index| self.seen.get_mut(index)) {
            *seen = true;
        }
    }

    fn best(&self) -> f32 {
        self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    #[allow(clippy::cast_possible_truncation)] // PyTorch rounds a number to the scores' type, too.
    fn penalize(&mut self) {
        let penalty = self.options.repetition_penalty as f32;
        if (penalty - 1.0).abs() > 0.0 {
            for (score, _) in self.scores.iter_mut().zip(&self.seen).filter(|(_, &seen)| seen) {
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
        }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn cool(&mut self) {
        let temperature = self.options.temperature as f32;
        if (temperature - 1.0).abs() > 0.0 {
            self.scores.iter_mut().for_each(|score| *score /= temperature);
        }
    }

    fn keep_top_k(&mut self) {
        let count = self.options.top_k;
        if count == 0 || count >= self.scores.len() {
            return;
        }
        self.sorted.copy_from_slice(&self.scores);
        let (_, &mut least, _) =
            self.sorted.select_nth_unstable_by(count - 1, |one, other| other.total_cmp(one));
        self.scores
            .iter_mut()
            .filter(|score| **score < least)
            .for_each(|score| *score = f32::NEG_INFINITY);
    }

    /// Leaves out every token before which, from the most probable one on, the probabilities reach top-p.
    fn keep_top_p(&mut self) {
        let wanted = self.options.top_p;
        if wanted >= 1.0 {
            return;
        }
        let wanted = wanted * self.weigh();
        let Self { scores, order, weights, .. } = self;
        order.clear();
        order.extend(
            (0_u32..)
                .zip(&*scores)
                .filter(|(_, score)| **score > f32::NEG_INFINITY)
                .map(|(at, _)| at),
        );
        let (mut start, mut size, mut reached) = (0, FIRST_SORTED, 0.0);
        while start < order.len() {
            let rest = &mut order[start..];
            let block = size.min(rest.len());
            if block < rest.len() {
                rest.select_nth_unstable_by(block - 1, |&one, &other| {
                    most_first(scores, one, other)
                });
            }
            rest[..block].sort_unstable_by(|&one, &other| most_first(scores, one, other));
            for at in 0..block {
                if start + at > 0 && reached >= wanted {
                    for &token in &rest[at..] {
                        scores[token as usize] = f32::NEG_INFINITY;
                    }
                    return;
                }
                reached += weights[rest[at] as usize];
            }
            start += block;
            size *= 4;
        }
    }

    fn keep_min_p(&mut self) {
        let least = self.options.min_p;
        if least > 0.0 {
            // The best one's weight is 1.
            self.weigh();
            for (score, &weight) in self.scores.iter_mut().zip(&self.weights) {
                if weight < least {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Fills the weights from the scores, and returns their sum.
    fn weigh(&mut self) -> f64 {
        let best = f64::from(self.best());
        let mut total = 0.0;
        for (weight, &score) in self.weights.iter_mut().zip(&self.scores) {
            *weight = exp(f64::from(score) - best);
            total += *weight;
        }
        total
    }
}

/// The order of tokens from the most probable one on. Of equal scores the later token is first: a stable sort from the
/// least probable one on has it last.
fn most_first(scores: &[f32], one: u32, other: u32) -> Ordering {
    let by_score = scores[other as usize].total_cmp(&scores[one as usize]);
    by_score.then(other.cmp(&one))
}

#[cfg(test)]
mod tests;
