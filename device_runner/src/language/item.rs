//! An item of a language workload: its prompt, and what follows it.

use safetensors::{Dtype, SafeTensors};

use super::LanguageOrder;
use crate::tensors::SentTensors;

/// The tensor of an item.
const PROMPT: &str = "prompt";
/// Another one that it may have: the tokens that are fed behind the prompt instead of the model's own.
const FORCED: &str = "forced";
/// With forced tokens it may have what another distribution gives at each step: its most probable tokens, the most
/// probable one first, and the natural logarithms of their probabilities, the last one that of all others together.
const TOP_TOKENS: &str = "top_tokens";
const TOP_LOGARITHMS: &str = "top_logarithms";
/// Another one that it may have instead: how many tokens follow, whatever they are.
const EXACTLY: &str = "exactly";

/// How far above zero rounding may put the logarithm of a probability.
const LOG_ROUNDING: f32 = 1e-3;

/// What follows a prompt.
#[derive(Debug, PartialEq)]
pub enum Behind {
    /// The model's own tokens, until one ends the generation or there are as many as follow a prompt.
    Own,
    /// So many of the model's own tokens. None of them ends the generation.
    Exactly(usize),
    /// The model's choices behind these tokens, which are fed instead of its own.
    Forced(Forced),
}

/// Tokens that are fed, and what is known of the distributions from which they come.
#[derive(Debug, PartialEq)]
pub struct Forced {
    pub tokens: Vec<i32>,
    top: Option<Top>,
}

impl Forced {
    /// The known tokens of a step with their logarithms, if there are any.
    pub fn top(&self, step: usize) -> Option<(&[i32], &[f32])> {
        let Top { tokens, logarithms, count } = self.top.as_ref()?;
        let tokens = tokens.get(step * count..(step + 1) * count)?;
        Some((tokens, logarithms.get(step * (count + 1)..(step + 1) * (count + 1))?))
    }
}

/// Of every step `count` tokens, and one logarithm more.
#[derive(Debug, PartialEq)]
struct Top {
    tokens: Vec<i32>,
    logarithms: Vec<f32>,
    count: usize,
}

/// A checked item.
#[derive(Debug, PartialEq)]
pub struct Item {
    pub prompt: Vec<i32>,
    pub behind: Behind,
}

impl Item {
    /// Reads an item's tensors.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(order: &LanguageOrder, sent: &SentTensors) -> Result<Self, String> {
        let tensors = sent.read()?;
        let optional = [FORCED, EXACTLY, TOP_TOKENS, TOP_LOGARITHMS];
        let has = optional.map(|name| tensors.tensor(name).is_ok());
        let given = optional.iter().zip(has).filter(|(_, has)| *has).map(|(name, _)| *name);
        let names: Vec<String> = [PROMPT].into_iter().chain(given).map(str::to_owned).collect();
        sent.check(&names)?;
        let behind = match has {
            [false, false, false, false] => Behind::Own,
            [false, true, false, false] => {
                Behind::Exactly(count(order, &integers(&tensors, EXACTLY)?)?)
            }
            [true, false, top, logarithms] if top == logarithms => {
                let tokens = forced(order, &tensors)?;
                let top = top.then(|| Top::read(order, &tensors, tokens.len())).transpose()?;
                Behind::Forced(Forced { tokens, top })
            }
            _ => return Err(format!("{names:?} do not belong together")),
        };
        Ok(Self { prompt: prompt(order, &tensors)?, behind })
    }
}

impl Top {
    fn read(
        order: &LanguageOrder,
        tensors: &SafeTensors<'_>,
        steps: usize,
    ) -> Result<Self, String> {
        let shape = tensors.tensor(TOP_TOKENS).map_err(|error| error.to_string())?.shape().to_vec();
        let [found, count] = shape[..] else {
            return Err(format!("{TOP_TOKENS:?} has not two axes"));
        };
        if found != steps || count == 0 || count > order.vocab_size {
            return Err(format!("{TOP_TOKENS:?} is of {shape:?} for {steps} steps"));
        }
        let tokens = known(
            order,
            elements(tensors, TOP_TOKENS, Dtype::I32, &shape)?.map(i32::from_le_bytes).collect(),
        )?;
        let shape = [steps, count + 1];
        let logarithms: Vec<f32> = elements(tensors, TOP_LOGARITHMS, Dtype::F32, &shape)?
            .map(f32::from_le_bytes)
            .collect();
        if let Some(wrong) = logarithms.iter().find(|&&one| one.is_nan() || one > LOG_ROUNDING) {
            return Err(format!("{TOP_LOGARITHMS:?} has {wrong}, which is of no probability"));
        }
        Ok(Self { tokens, logarithms, count })
    }
}

fn prompt(order: &LanguageOrder, tensors: &SafeTensors<'_>) -> Result<Vec<i32>, String> {
    let tokens = integers(tensors, PROMPT)?;
    if tokens.is_empty() {
        return Err("the prompt is empty".to_owned());
    }
    if tokens.len().saturating_add(order.new_tokens) > order.capacity {
        let (given, after, most) = (tokens.len(), order.new_tokens, order.capacity);
        return Err(format!(
            "the prompt's {given} tokens with {after} behind them are more than the context of {most}"
        ));
    }
    known(order, tokens)
}

fn forced(order: &LanguageOrder, tensors: &SafeTensors<'_>) -> Result<Vec<i32>, String> {
    let tokens = integers(tensors, FORCED)?;
    if tokens.is_empty() {
        return Err("no token is forced".to_owned());
    }
    if tokens.len() > order.new_tokens {
        let (given, most) = (tokens.len(), order.new_tokens);
        return Err(format!("{given} forced tokens, the model decodes {most}"));
    }
    known(order, tokens)
}

fn count(order: &LanguageOrder, given: &[i32]) -> Result<usize, String> {
    let most = order.new_tokens;
    let count = given.first().copied().filter(|_| given.len() == 1);
    let count = count.and_then(|count| usize::try_from(count).ok());
    count
        .filter(|count| (1..=most).contains(count))
        .ok_or_else(|| format!("{EXACTLY:?} is {given:?}, it must be one number from 1 to {most}"))
}

/// The elements of a tensor of one axis.
fn integers(tensors: &SafeTensors<'_>, name: &str) -> Result<Vec<i32>, String> {
    let view = tensors.tensor(name).map_err(|error| error.to_string())?;
    let [count] = view.shape()[..] else {
        return Err(format!("{name:?} is no int32 of one axis"));
    };
    Ok(elements(tensors, name, Dtype::I32, &[count])?.map(i32::from_le_bytes).collect())
}

/// The elements of a tensor, by their bytes.
fn elements<'a>(
    tensors: &SafeTensors<'a>,
    name: &str,
    dtype: Dtype,
    shape: &[usize],
) -> Result<impl Iterator<Item = [u8; 4]> + 'a, String> {
    let view = tensors.tensor(name).map_err(|error| error.to_string())?;
    if view.dtype() != dtype || view.shape() != shape {
        let kind = if dtype == Dtype::I32 { "int32" } else { "float32" };
        let axes = if shape.len() == 1 { "one axis".to_owned() } else { format!("{shape:?}") };
        return Err(format!("{name:?} is no {kind} of {axes}"));
    }
    Ok(view.data().chunks_exact(4).map(|four| [four[0], four[1], four[2], four[3]]))
}

fn known(order: &LanguageOrder, tokens: Vec<i32>) -> Result<Vec<i32>, String> {
    match tokens.iter().find(|&&token| !order.knows(token)) {
        Some(token) => {
            Err(format!("token {token} is outside the vocabulary of {}", order.vocab_size))
        }
        None => Ok(tokens),
    }
}
