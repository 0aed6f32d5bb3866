//! The loop: what a cache does not hold yet in blocks, then a token a step.

use std::ops::ControlFlow;

use charsiug2p_workload::Sampler;

use crate::bad_step::BadStep;

/// A model with the cache of one text.
pub trait Model {
    /// The positions of the cache.
    fn capacity(&self) -> usize;
    /// The most tokens of a prefill.
    fn block(&self) -> usize;
    /// How many of the text's tokens the cache holds, from the first one on.
    fn filled(&self) -> usize;
    /// Notes how many tokens it holds now.
    fn fill_to(&mut self, tokens: usize);
    /// Writes the keys and values of a block of tokens, the first of which is at the position `first`.
    ///
    /// # Errors
    /// [`BadStep`].
    fn prefill(&mut self, block: &[i32], first: usize) -> Result<(), BadStep>;
    /// Feeds the token at a position, and returns the best next one.
    ///
    /// # Errors
    /// [`BadStep`].
    fn step(&mut self, token: i32, position: usize) -> Result<i32, BadStep>;
    /// The logits `[V]` of the last step.
    ///
    /// # Errors
    /// [`BadStep`].
    fn logits(&self) -> Result<&[f32], BadStep>;
}

/// Hears a generation.
pub trait Listener {
    /// Whether it is to continue: asked before each block of the prompt, and before each step.
    fn goes_on(&mut self) -> bool {
        true
    }

    /// A token follows. `Break` ends the generation after it. A stop token is not passed.
    fn token(&mut self, token: i32) -> ControlFlow<()>;
}

/// When a generation ends.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The most tokens that follow.
    pub most: usize,
    /// Tokens that end it.
    pub stop_tokens: &'a [i32],
}

/// How a token is chosen.
#[derive(Debug)]
pub enum Choice<'a> {
    /// The best one, as the model answers it.
    Best,
    /// The best one by a sampler's scores: with a repetition penalty another one may be the best.
    BestScore(&'a mut Sampler),
    /// One by chance.
    Drawn(&'a mut Sampler),
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As many tokens follow as were asked for.
    Length,
    /// The last token is one that ends it.
    StopToken,
    /// The text has as many tokens as the cache has positions.
    ContextFull,
    /// The listener did not continue.
    Left,
}

/// Adds to a text the tokens that follow it. Its last token is the input of the first step.
///
/// Only tokens that the cache does not hold are read, so a text that continues costs as much as its new tokens. After an
/// error, too, the cache holds as many tokens as it claims, and the text has every token that was passed. Nothing is
/// allocated for a step.
///
/// # Errors
/// [`BadStep::Empty`], [`BadStep::Full`], and what the model's functions and its logits give.
pub fn generate(
    model: &mut impl Model,
    text: &mut Vec<i32>,
    plan: &Plan<'_>,
    choice: &mut Choice<'_>,
    listener: &mut impl Listener,
) -> Result<Ended, BadStep> {
    let capacity = model.capacity();
    let before = text.len().checked_sub(1).ok_or(BadStep::Empty)?;
    if text.len() >= capacity {
        return Err(BadStep::Full { tokens: text.len(), capacity });
    }
    while model.filled() < before {
        if !listener.goes_on() {
            return Ok(Ended::Left);
        }
        let first = model.filled();
        let end = before.min(first + model.block().max(1));
        model.prefill(&text[first..end], first)?;
        model.fill_to(end);
    }
    text.reserve(plan.most.min(capacity - text.len()));
    choice.begin(text);
    for step in 0..plan.most {
        let Some(&last) = text.last().filter(|_| text.len() < capacity) else {
            return Ok(Ended::ContextFull);
        };
        if !listener.goes_on() {
            return Ok(Ended::Left);
        }
        let best = model.step(last, text.len() - 1)?;
        model.fill_to(text.len());
        let next = choice.next(step, best, model.logits()?)?;
        text.push(next);
        if plan.stop_tokens.contains(&next) {
            return Ok(Ended::StopToken);
        }
        if listener.token(next).is_break() {
            return Ok(Ended::Left);
        }
    }
    Ok(Ended::Length)
}

impl Choice<'_> {
    fn begin(&mut self, text: &[i32]) {
        match self {
            Self::Best => {}
            Self::BestScore(sampler) | Self::Drawn(sampler) => sampler.begin(text),
        }
    }

    fn next(&mut self, step: usize, best: i32, logits: &[f32]) -> Result<i32, BadStep> {
        let drawn = match self {
            Self::Best => {
                let logit = usize::try_from(best).ok().and_then(|best| logits.get(best));
                let &value = logit.ok_or(BadStep::NoToken { step, token: best })?;
                return if value.is_finite() {
                    Ok(best)
                } else {
                    Err(BadStep::NotFinite { step, value })
                };
            }
            Self::BestScore(sampler) => sampler.choose_best(logits),
            Self::Drawn(sampler) => sampler.choose(logits),
        };
        drawn.map_err(|reason| BadStep::NotDrawn { step, reason })
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
