//! One step of the decoder, with and without a cache, on buffers that live as long as the session.

use std::time::{Duration, Instant};

use charsiug2p_g2p_tokenizer::PAD;
use charsiug2p_g2p_tvm::{Argument, Function, Tensor, TvmError};

use crate::config::ModelConfig;

/// What the encoder knows of a batch; borrowed for its decoding.
pub(crate) struct Encoded<'a> {
    /// `[B, S, D]`.
    pub hidden: &'a Tensor,
    /// `[B]`.
    pub lengths: &'a Tensor,
}

/// The decoder of a session.
pub(crate) enum Decoder {
    Full(FullDecoder),
    Cached(CachedDecoder),
}

impl Decoder {
    /// Prepares a batch; the time of the prefill, where there is one.
    pub fn begin(&mut self, encoded: &Encoded<'_>) -> Result<Option<Duration>, TvmError> {
        match self {
            Self::Full(decoder) => {
                decoder.tokens.fill(PAD);
                Ok(None)
            }
            Self::Cached(decoder) => decoder.begin(encoded).map(Some),
        }
    }

    /// Feeds the token of each row at `position`; the logits and the time of the call.
    pub fn step(
        &mut self,
        position: usize,
        tokens: &[i32],
        encoded: &Encoded<'_>,
    ) -> Result<(Logits, Duration), TvmError> {
        match self {
            Self::Full(decoder) => decoder.step(position, tokens, encoded),
            Self::Cached(decoder) => decoder.step(position, tokens, encoded),
        }
    }
}

/// The logits of one step, in TVM's memory.
pub(crate) struct Logits {
    tensor: Tensor,
    /// Position inside a row of `[B, T, V]`; none for `[B, V]`.
    position: Option<usize>,
}

impl Logits {
    pub fn row(&self, row: usize) -> Result<&[f32], TvmError> {
        match self.position {
            Some(position) => self.tensor.row(&[row, position]),
            None => self.tensor.row(&[row]),
        }
    }
}

/// Runs over all tokens so far at every step.
pub(crate) struct FullDecoder {
    function: Function,
    batch: usize,
    vocab: usize,
    /// `[B, max_output_len]`: every token fed so far.
    tokens: Vec<i32>,
    capacity: usize,
    /// The input of each length, made when first needed.
    inputs: Vec<Option<Tensor>>,
}

impl FullDecoder {
    pub fn new(function: Function, config: &ModelConfig) -> Self {
        let capacity = config.max_output_len;
        Self {
            function,
            batch: config.batch_size,
            vocab: config.vocab_size,
            tokens: vec![PAD; config.batch_size * capacity],
            capacity,
            inputs: (0..capacity).map(|_| None).collect(),
        }
    }

    fn step(
        &mut self,
        position: usize,
        tokens: &[i32],
        encoded: &Encoded<'_>,
    ) -> Result<(Logits, Duration), TvmError> {
        for (row, &token) in self.tokens.chunks_exact_mut(self.capacity).zip(tokens) {
            row[position] = token;
        }
        let length = position + 1;
        let input = match &mut self.inputs[position] {
            Some(input) => input,
            empty => empty.insert(Tensor::zeros::<i32>(&[self.batch, length])?),
        };
        let rows = self.tokens.chunks_exact(self.capacity);
        for (to, from) in input.as_mut_slice::<i32>()?.chunks_exact_mut(length).zip(rows) {
            to.copy_from_slice(&from[..length]);
        }
        let started = Instant::now();
        let tensor = self.function.call_tensor(&[
            Argument::Tensor(input),
            Argument::Tensor(encoded.hidden),
            Argument::Tensor(encoded.lengths),
        ])?;
        let took = started.elapsed();
        tensor.expect_shape("the decoder's logits", &[self.batch, length, self.vocab])?;
        Ok((Logits { tensor, position: Some(position) }, took))
    }
}

/// Runs over one token a step; keys and values of the earlier ones are kept in place.
pub(crate) struct CachedDecoder {
    prefill: Function,
    step: Function,
    batch: usize,
    vocab: usize,
    /// `[B]`.
    tokens: Tensor,
    /// `[1]`.
    position: Tensor,
    /// Need not be cleared between words: a step reads nothing beyond its own position.
    self_cache: Tensor,
    /// Of the current batch.
    cross_cache: Option<Tensor>,
}

impl CachedDecoder {
    pub fn new(prefill: Function, step: Function, config: &ModelConfig) -> Result<Self, TvmError> {
        let cache_shape = config.self_cache_shape.as_deref().unwrap_or_default();
        Ok(Self {
            prefill,
            step,
            batch: config.batch_size,
            vocab: config.vocab_size,
            tokens: Tensor::zeros::<i32>(&[config.batch_size])?,
            position: Tensor::zeros::<i32>(&[1])?,
            self_cache: Tensor::zeros::<f32>(cache_shape)?,
            cross_cache: None,
        })
    }

    fn begin(&mut self, encoded: &Encoded<'_>) -> Result<Duration, TvmError> {
        // The last batch's goes back to TVM's pool before the next is taken from it.
        self.cross_cache = None;
        let started = Instant::now();
        let cross_cache = self.prefill.call_tensor(&[Argument::Tensor(encoded.hidden)])?;
        let took = started.elapsed();
        self.cross_cache = Some(cross_cache);
        Ok(took)
    }

    fn step(
        &mut self,
        position: usize,
        tokens: &[i32],
        encoded: &Encoded<'_>,
    ) -> Result<(Logits, Duration), TvmError> {
        self.tokens.as_mut_slice::<i32>()?.copy_from_slice(tokens);
        self.position.as_mut_slice::<i32>()?.fill(i32::try_from(position).unwrap_or(i32::MAX));
        let Some(cross_cache) = &self.cross_cache else {
            return Err(TvmError::Layout("the decoder was not prepared"));
        };
        let started = Instant::now();
        let tensor = self.step.call_tensor(&[
            Argument::Tensor(&self.tokens),
            Argument::Tensor(&self.position),
            Argument::Tensor(encoded.lengths),
            Argument::InPlace(&mut self.self_cache),
            Argument::Tensor(cross_cache),
        ])?;
        let took = started.elapsed();
        tensor.expect_shape("the step's logits", &[self.batch, self.vocab])?;
        Ok((Logits { tensor, position: None }, took))
    }
}
