//! An item of a language workload: its prompt, and what follows it.

use safetensors::{Dtype, SafeTensors};

use super::LanguageOrder;
use crate::tensors::SentTensors;

/// The tensor of an item.
const PROMPT: &str = "prompt";
/// Another one that it may have: the tokens that are fed behind the prompt instead of the model's own.
const FORCED: &str = "forced";
/// Another one that it may have instead: how many tokens follow, whatever they are.
const EXACTLY: &str = "exactly";

/// What follows a prompt.
#[derive(Debug, PartialEq, Eq)]
pub enum Behind {
    /// The model's own tokens, until one ends the generation or there are as many as follow a prompt.
    Own,
    /// So many of the model's own tokens. None of them ends the generation.
    Exactly(usize),
    /// The model's choices behind these tokens, which are fed instead of its own.
    Forced(Vec<i32>),
}

/// A checked item.
#[derive(Debug, PartialEq, Eq)]
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
        let optional = [FORCED, EXACTLY].into_iter().filter(|name| tensors.tensor(name).is_ok());
        let names: Vec<String> = [PROMPT].into_iter().chain(optional).map(str::to_owned).collect();
        sent.check(&names)?;
        let behind = match names.get(1).map(String::as_str) {
            _ if names.len() > 2 => {
                return Err(format!("tokens are both fed and counted: {names:?}"));
            }
            Some(FORCED) => Behind::Forced(forced(order, &tensors)?),
            Some(_) => Behind::Exactly(count(order, &integers(&tensors, EXACTLY)?)?),
            None => Behind::Own,
        };
        Ok(Self { prompt: prompt(order, &tensors)?, behind })
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

/// The elements of one tensor.
fn integers(tensors: &SafeTensors<'_>, name: &str) -> Result<Vec<i32>, String> {
    let view = tensors.tensor(name).map_err(|error| error.to_string())?;
    if view.dtype() != Dtype::I32 || view.shape().len() != 1 {
        return Err(format!("{name:?} is no int32 of one axis"));
    }
    let bytes = view.data().chunks_exact(4);
    Ok(bytes.map(|four| i32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}

fn known(order: &LanguageOrder, tokens: Vec<i32>) -> Result<Vec<i32>, String> {
    match tokens.iter().find(|&&token| !order.knows(token)) {
        Some(token) => {
            Err(format!("token {token} is outside the vocabulary of {}", order.vocab_size))
        }
        None => Ok(tokens),
    }
}
