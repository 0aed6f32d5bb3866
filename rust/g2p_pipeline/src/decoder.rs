//! One step of the decoder, with and without a cache, on buffers that live as long as the session.

use std::time::{Duration, Instant};

use charsiug2p_g2p_tokenizer::PAD;
use charsiug2p_g2p_tvm::{Argument, Float16, Function, Tensor, TvmError};

use crate::config::{CacheDtype, ModelConfig};
use crate::greedy::{best, Steps};

/// The encoder's results for a batch; borrowed for its decoding.
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
    /// Prepares a batch; with the time of the prefill, where there is one.
    pub fn begin<'a>(
        &'a mut self,
        encoded: Encoded<'a>,
    ) -> Result<(Decoding<'a>, Option<Duration>), TvmError> {
        let prefill = match self {
            Self::Full(decoder) => {
                decoder.history.fill(PAD);
                None
            }
            Self::Cached(decoder) => Some(decoder.begin(&encoded)?),
        };
        Ok((Decoding { decoder: self, encoded }, prefill))
    }
}

/// The decoder at work on a batch.
pub(crate) struct Decoding<'a> {
    decoder: &'a mut Decoder,
    encoded: Encoded<'a>,
}

impl Steps for Decoding<'_> {
    fn step(
        &mut self,
        position: usize,
        tokens: &mut [i32],
        rows: &[i32],
    ) -> Result<Duration, TvmError> {
        match &mut *self.decoder {
            Decoder::Full(decoder) => decoder.step(position, tokens, rows, &self.encoded),
            Decoder::Cached(decoder) => decoder.step(position, tokens, rows, &self.encoded),
        }
    }

    fn logits(&self, slot: usize) -> Result<&[f32], TvmError> {
        match &*self.decoder {
            Decoder::Full(decoder) => decoder.logits(slot),
            Decoder::Cached(decoder) => decoder.buffers.logits.row(&[slot]),
        }
    }
}

/// Runs over all tokens so far at every step, and over all rows, finished or not.
pub(crate) struct FullDecoder {
    function: Function,
    batch: usize,
    vocab: usize,
    /// `[B, max_output_len]`: every token fed so far, padding after a row's end.
    history: Vec<i32>,
    capacity: usize,
    /// `[B, T]` for the T tokens so far.
    input: Tensor,
    /// `[B, T, V]` of the last step.
    logits: Option<Tensor>,
    /// The rows whose words were decoded in the last step.
    rows: Vec<usize>,
}

impl FullDecoder {
    pub fn new(function: Function, config: &ModelConfig) -> Result<Self, TvmError> {
        let (batch, capacity) = (config.batch_size, config.max_output_len);
        Ok(Self {
            function,
            batch,
            vocab: config.vocab_size,
            history: vec![PAD; batch * capacity],
            capacity,
            input: Tensor::zeros::<i32>(&[batch, capacity])?,
            logits: None,
            rows: Vec::with_capacity(batch),
        })
    }

    fn step(
        &mut self,
        position: usize,
        tokens: &mut [i32],
        rows: &[i32],
        encoded: &Encoded<'_>,
    ) -> Result<Duration, TvmError> {
        self.rows.clear();
        self.rows.extend(rows.iter().map(|&row| usize::try_from(row).unwrap_or(usize::MAX)));
        for (&row, &token) in self.rows.iter().zip(&*tokens) {
            let cell = self.history.chunks_exact_mut(self.capacity).nth(row);
            if let Some(cell) = cell.and_then(|cells| cells.get_mut(position)) {
                *cell = token;
            }
        }
        let length = position + 1;
        self.input.set_shape(&[self.batch, length])?;
        let history = self.history.chunks_exact(self.capacity);
        for (to, from) in self.input.as_mut_slice::<i32>()?.chunks_exact_mut(length).zip(history) {
            to.copy_from_slice(&from[..length]);
        }
        self.logits = None;
        let started = Instant::now();
        let logits = self.function.call_tensor(&[
            Argument::Tensor(&self.input),
            Argument::Tensor(encoded.hidden),
            Argument::Tensor(encoded.lengths),
        ])?;
        let took = started.elapsed();
        logits.expect_shape("the decoder's logits", &[self.batch, length, self.vocab])?;
        self.logits = Some(logits);
        for (slot, token) in tokens.iter_mut().enumerate() {
            *token = best(self.logits(slot)?);
        }
        Ok(took)
    }

    fn logits(&self, slot: usize) -> Result<&[f32], TvmError> {
        let (Some(logits), Some(&row)) = (&self.logits, self.rows.get(slot)) else {
            return Err(TvmError::Layout("nothing was decoded"));
        };
        let last = usize::try_from(logits.extents().get(1).copied().unwrap_or(1)).unwrap_or(1) - 1;
        logits.row(&[row, last])
    }
}

/// Runs over one token a step; keys and values of the earlier ones are kept in place.
pub(crate) struct CachedDecoder {
    prefill: Function,
    step: Function,
    buffers: StepBuffers,
    /// `[1]`.
    position: Tensor,
    /// Need not be cleared between words: a step reads nothing beyond its own position.
    self_cache: Tensor,
    /// The encoder's keys and values of the current batch.
    cross_cache: Option<Tensor>,
}

impl CachedDecoder {
    pub fn new(prefill: Function, step: Function, config: &ModelConfig) -> Result<Self, TvmError> {
        let shape = config.self_cache_shape.as_deref().unwrap_or_default();
        Ok(Self {
            prefill,
            step,
            buffers: StepBuffers::new(config.batch_size, config.vocab_size)?,
            position: Tensor::zeros::<i32>(&[1])?,
            self_cache: match config.self_cache_dtype {
                CacheDtype::Float32 => Tensor::zeros::<f32>(shape)?,
                CacheDtype::Float16 => Tensor::zeros::<Float16>(shape)?,
            },
            cross_cache: None,
        })
    }

    fn begin(&mut self, encoded: &Encoded<'_>) -> Result<Duration, TvmError> {
        self.cross_cache = None;
        self.buffers.words = 0;
        let started = Instant::now();
        let cross_cache = self.prefill.call_tensor(&[Argument::Tensor(encoded.hidden)])?;
        let took = started.elapsed();
        self.cross_cache = Some(cross_cache);
        Ok(took)
    }

    fn step(
        &mut self,
        position: usize,
        tokens: &mut [i32],
        rows: &[i32],
        encoded: &Encoded<'_>,
    ) -> Result<Duration, TvmError> {
        let Some(cross_cache) = &self.cross_cache else {
            return Err(TvmError::Layout("the decoder was not prepared"));
        };
        let buffers = &mut self.buffers;
        if buffers.words != rows.len() {
            buffers.fill(tokens, rows)?;
        }
        self.position.as_mut_slice::<i32>()?.fill(i32::try_from(position).unwrap_or(i32::MAX));
        let current = &mut buffers.tokens[buffers.current];
        let started = Instant::now();
        let next = self.step.call_tensor(&[
            Argument::InPlace(current),
            Argument::Tensor(&buffers.rows),
            Argument::Tensor(&self.position),
            Argument::Tensor(encoded.lengths),
            Argument::InPlace(&mut self.self_cache),
            Argument::Tensor(cross_cache),
            Argument::InPlace(&mut buffers.logits),
        ])?;
        let took = started.elapsed();
        if !next.is_same(current) {
            return Err(TvmError::Layout("the step returned another tensor than its tokens"));
        }
        tokens.copy_from_slice(next.as_slice()?);
        Ok(took)
    }
}

/// What changes size with the number of words still being decoded, b; made once for all of them.
struct StepBuffers {
    /// `[b]`, two of them: a virtual machine keeps what it returned last, which is the tokens, and
    /// a tensor that it keeps cannot be written. A step's own tokens stay where they are.
    tokens: [Tensor; 2],
    /// Which of the two.
    current: usize,
    /// `[b]`: the batch's row of each token.
    rows: Tensor,
    /// `[b, V]` of the last step.
    logits: Tensor,
    vocab: usize,
    /// b, and 0 before a batch's first step.
    words: usize,
}

impl StepBuffers {
    fn new(batch: usize, vocab: usize) -> Result<Self, TvmError> {
        Ok(Self {
            tokens: [Tensor::zeros::<i32>(&[batch])?, Tensor::zeros::<i32>(&[batch])?],
            current: 0,
            rows: Tensor::zeros::<i32>(&[batch])?,
            logits: Tensor::zeros::<f32>(&[batch, vocab])?,
            vocab,
            words: 0,
        })
    }

    /// Takes the tokens of these rows, as at the start or after some words have finished.
    fn fill(&mut self, tokens: &[i32], rows: &[i32]) -> Result<(), TvmError> {
        let words = rows.len();
        self.current = usize::from(self.tokens[0].is_shared());
        for (buffer, values) in [(&mut self.tokens[self.current], tokens), (&mut self.rows, rows)] {
            buffer.set_shape(&[words])?;
            buffer.write(values)?;
        }
        self.logits.set_shape(&[words, self.vocab])?;
        self.words = words;
        Ok(())
    }
}
