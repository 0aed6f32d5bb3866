//! A model's two functions with the buffers that its texts share, and the cache of each text.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use charsiug2p_g2p_tvm::{
    Argument, DeviceConfig, Float16, Function, Tensor, TvmError, TvmModule, DEFAULT_ENTRY,
};
use charsiug2p_workload::nanoseconds;
use serde::Deserialize;

use crate::bad_step::BadStep;
use crate::generate::Model;

/// The function that takes a block of a prompt.
pub const PREFILL: &str = "prefill";
/// The function that decodes one token.
pub const STEP: &str = "step";
/// 4 GiB of float32, 2 GiB of float16.
const MOST_CACHE_ELEMENTS: usize = 1 << 30;

/// The element type of a cache. Only compiled functions use the elements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheDtype {
    /// Four bytes each.
    #[default]
    Float32,
    /// Two bytes each.
    Float16,
}

/// The sizes that a model was compiled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// How many tokens there are.
    pub vocab_size: usize,
    /// The positions of a cache.
    pub capacity: usize,
    /// The most rows of a prefill.
    pub block: usize,
    /// Layers, keys and values, elements.
    pub cache_shape: Vec<usize>,
    /// The type of the elements.
    pub cache_dtype: CacheDtype,
}

impl Sizes {
    /// Checks what memory and positions allow.
    ///
    /// # Errors
    /// The first size that cannot be.
    pub fn check(&self) -> Result<(), String> {
        for (name, size, limit) in [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("capacity", self.capacity, 1 << 20),
            ("block", self.block, self.capacity),
        ] {
            if size == 0 || size > limit {
                return Err(format!("{name} is {size}, it must be from 1 to {limit}"));
            }
        }
        let elements =
            self.cache_shape.iter().fold(1, |count: usize, &extent| count.saturating_mul(extent));
        if self.cache_shape.len() != 3 || elements == 0 || elements > MOST_CACHE_ELEMENTS {
            let shape = &self.cache_shape;
            return Err(format!("a cache of {shape:?} is none, or larger than memory is taken"));
        }
        Ok(())
    }

    /// Whether a token is in the vocabulary.
    #[must_use]
    pub fn knows(&self, token: i32) -> bool {
        usize::try_from(token).is_ok_and(|token| token < self.vocab_size)
    }
}

/// The keys and values of one text.
///
/// It need not be cleared for another text: nothing beyond a token's own position is read.
#[derive(Debug)]
pub struct Cache {
    tensor: Tensor,
    /// The name of the step that made it.
    of: String,
    /// How many of the text's tokens it holds, from the first one on.
    filled: usize,
}

impl Cache {
    /// Keeps at most so many of the text's tokens.
    pub fn keep(&mut self, tokens: usize) {
        self.filled = self.filled.min(tokens);
    }
}

/// A loaded model. Nothing is allocated for a step.
#[derive(Debug)]
pub struct Decoder {
    prefill: Function,
    step: Function,
    sizes: Sizes,
    /// `[T]` for the T tokens of a block.
    input: Tensor,
    /// `[1]`, two of them: a virtual machine keeps what it returned last, which is the token, and a tensor that it
    /// keeps cannot be written.
    tokens: [Tensor; 2],
    /// Which of them has the last token.
    current: usize,
    /// `[1]`.
    position: Tensor,
    /// `[1, V]` of the last step.
    logits: Tensor,
}

impl Decoder {
    /// Takes the functions [`PREFILL`] and [`STEP`] from the program, by their prefixes, and returns how long each took.
    ///
    /// # Errors
    /// [`TvmError`].
    pub fn load(
        prefixes: &BTreeMap<String, String>,
        sizes: Sizes,
        on_load: &mut dyn FnMut(&'static str, Duration),
    ) -> Result<Self, TvmError> {
        let mut load = |name: &'static str| -> Result<Function, TvmError> {
            let started = Instant::now();
            let prefix = prefixes.get(name).map_or("", String::as_str);
            let module = TvmModule::from_system_lib(prefix)?;
            let function = module.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY)?;
            on_load(name, started.elapsed());
            Ok(function)
        };
        let (prefill, step) = (load(PREFILL)?, load(STEP)?);
        Ok(Self {
            prefill,
            step,
            input: Tensor::zeros::<i32>(&[sizes.block])?,
            tokens: [Tensor::zeros::<i32>(&[1])?, Tensor::zeros::<i32>(&[1])?],
            current: 0,
            position: Tensor::zeros::<i32>(&[1])?,
            logits: Tensor::zeros::<f32>(&[1, sizes.vocab_size])?,
            sizes,
        })
    }

    /// The sizes that it was compiled with.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// The cache of a new text.
    ///
    /// # Errors
    /// [`TvmError::TooLarge`] and others of [`TvmError`].
    pub fn cache(&self) -> Result<Cache, TvmError> {
        let shape = &self.sizes.cache_shape;
        let tensor = match self.sizes.cache_dtype {
            CacheDtype::Float32 => Tensor::zeros::<f32>(shape)?,
            CacheDtype::Float16 => Tensor::zeros::<Float16>(shape)?,
        };
        Ok(Cache { tensor, of: self.step.name().to_owned(), filled: 0 })
    }

    /// Writes the keys and values of a block, whose first token is at `first`, and returns the nanoseconds of the call.
    ///
    /// # Errors
    /// [`BadStep::OtherModel`], [`BadStep::Tvm`].
    pub fn prefill(
        &mut self,
        cache: &mut Cache,
        block: &[i32],
        first: usize,
    ) -> Result<u64, BadStep> {
        self.check(cache)?;
        self.input.set_shape(&[block.len()])?;
        self.input.write(block)?;
        self.place(first)?;
        let started = Instant::now();
        self.prefill.call_tensor(&[
            Argument::Tensor(&self.input),
            Argument::Tensor(&self.position),
            Argument::InPlace(&mut cache.tensor),
        ])?;
        Ok(nanoseconds(started.elapsed()))
    }

    /// Feeds a token at `position`. Returns the best next one, and the nanoseconds of the call.
    ///
    /// # Errors
    /// [`BadStep::OtherModel`], [`BadStep::Tvm`].
    pub fn step(
        &mut self,
        cache: &mut Cache,
        token: i32,
        position: usize,
    ) -> Result<(i32, u64), BadStep> {
        self.check(cache)?;
        self.put(token)?;
        self.place(position)?;
        let fed = &mut self.tokens[self.current];
        let started = Instant::now();
        let next = self.step.call_tensor(&[
            Argument::InPlace(fed),
            Argument::Tensor(&self.position),
            Argument::InPlace(&mut cache.tensor),
            Argument::InPlace(&mut self.logits),
        ])?;
        let took = nanoseconds(started.elapsed());
        if next.is_same(fed) {
            Ok((first_of(fed)?, took))
        } else {
            Err(TvmError::Layout("the step returned another tensor than its token").into())
        }
    }

    /// The logits `[V]` of the last step.
    ///
    /// # Errors
    /// [`TvmError`].
    pub fn logits(&self) -> Result<&[f32], TvmError> {
        self.logits.row::<f32>(&[0])
    }

    fn check(&self, cache: &Cache) -> Result<(), BadStep> {
        let model = self.step.name();
        if cache.of == model {
            return Ok(());
        }
        Err(BadStep::OtherModel { of: cache.of.clone(), model: model.to_owned() })
    }

    /// Has the token in the current tensor: the machine's last answer, or another one in the tensor that it lets go.
    fn put(&mut self, token: i32) -> Result<(), TvmError> {
        if first_of(&self.tokens[self.current])? == token {
            return Ok(());
        }
        if self.tokens[self.current].is_shared() {
            self.current = 1 - self.current;
        }
        self.tokens[self.current].as_mut_slice::<i32>()?.fill(token);
        Ok(())
    }

    fn place(&mut self, position: usize) -> Result<(), TvmError> {
        self.position.as_mut_slice::<i32>()?.fill(i32::try_from(position).unwrap_or(i32::MAX));
        Ok(())
    }
}

fn first_of(tensor: &Tensor) -> Result<i32, TvmError> {
    let first = tensor.as_slice::<i32>()?.first().copied();
    first.ok_or(TvmError::Layout("a token of no elements"))
}

/// A model with the cache of one text.
#[derive(Debug)]
pub struct WithCache<'a> {
    decoder: &'a mut Decoder,
    cache: &'a mut Cache,
}

impl<'a> WithCache<'a> {
    /// Puts both together.
    ///
    /// # Errors
    /// [`BadStep::OtherModel`].
    pub fn new(decoder: &'a mut Decoder, cache: &'a mut Cache) -> Result<Self, BadStep> {
        decoder.check(cache)?;
        Ok(Self { decoder, cache })
    }
}

impl Model for WithCache<'_> {
    fn capacity(&self) -> usize {
        self.decoder.sizes.capacity
    }

    fn block(&self) -> usize {
        self.decoder.sizes.block
    }

    fn filled(&self) -> usize {
        self.cache.filled
    }

    fn fill_to(&mut self, tokens: usize) {
        self.cache.filled = tokens;
    }

    fn prefill(&mut self, block: &[i32], first: usize) -> Result<(), BadStep> {
        self.decoder.prefill(self.cache, block, first).map(drop)
    }

    fn step(&mut self, token: i32, position: usize) -> Result<i32, BadStep> {
        self.decoder.step(self.cache, token, position).map(|(next, _)| next)
    }

    fn logits(&self) -> Result<&[f32], BadStep> {
        Ok(self.decoder.logits()?)
    }
}
