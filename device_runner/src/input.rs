//! What an order gives an item, whatever kind of workload it is of.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::Deserialize;

use crate::tensors::SentTensors;

/// A prompt, or tensors by name.
pub enum Input {
    Prompt(String),
    Tensors(SentTensors),
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Input;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a prompt or tensors")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Input, E> {
                Ok(Input::Prompt(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Input, A::Error> {
                SentTensors::deserialize(MapAccessDeserializer::new(map)).map(Input::Tensors)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// The error names what the workload takes.
impl TryFrom<Input> for String {
    type Error = &'static str;

    fn try_from(input: Input) -> Result<Self, Self::Error> {
        match input {
            Input::Prompt(prompt) => Ok(prompt),
            Input::Tensors(_) => Err("a prompt, not tensors"),
        }
    }
}

/// The error names what the workload takes.
impl TryFrom<Input> for SentTensors {
    type Error = &'static str;

    fn try_from(input: Input) -> Result<Self, Self::Error> {
        match input {
            Input::Tensors(tensors) => Ok(tensors),
            Input::Prompt(_) => Err("tensors, not a prompt"),
        }
    }
}
