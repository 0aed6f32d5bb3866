//! Tensors inside orders and records: one safetensors blob as text, and whether it arrived as it was sent.

use std::fmt;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use charsiug2p_g2p_tvm::{ElementType, Tensor};
use charsiug2p_workload::TensorsRecord;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::de::{self, Deserializer, Visitor};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Tensors of an order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentTensors {
    pub size: usize,
    pub sha256: String,
    /// One blob in the format safetensors; base64 in the order.
    #[serde(rename = "data", deserialize_with = "decoded")]
    pub bytes: Vec<u8>,
}

impl SentTensors {
    /// The tensors by name, after checking that they arrived whole.
    pub fn read(&self) -> Result<SafeTensors<'_>, String> {
        if self.bytes.len() != self.size {
            return Err(format!("{} bytes arrived of {}", self.bytes.len(), self.size));
        }
        if sha256([self.bytes.as_slice()]) != self.sha256 {
            return Err("the bytes are not those that were sent (SHA-256)".to_owned());
        }
        SafeTensors::deserialize(&self.bytes).map_err(|error| format!("no safetensors: {error}"))
    }

    /// Checks that there is exactly a tensor for each of these names, of a type that is available.
    pub fn check(&self, names: &[String]) -> Result<(), String> {
        let tensors = self.read()?;
        let mut found = tensors.names();
        found.sort_unstable();
        let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        if found != wanted {
            return Err(format!("the tensors are {found:?}, the model takes {wanted:?}"));
        }
        names.iter().try_for_each(|name| view(&tensors, name).map(|_| ()))
    }

    /// The tensor of that name where TVM reads it.
    pub fn load(&self, name: &str) -> Result<Tensor, String> {
        let tensors = self.read()?;
        let (kind, view) = view(&tensors, name)?;
        Tensor::from_bytes(kind, view.shape(), view.data()).map_err(|error| error.to_string())
    }
}

fn view<'a>(
    tensors: &SafeTensors<'a>,
    name: &str,
) -> Result<(ElementType, TensorView<'a>), String> {
    let view = tensors.tensor(name).map_err(|error| format!("tensor {name:?}: {error}"))?;
    let kind = ElementType::ALL.into_iter().find(|&kind| stored(kind) == view.dtype());
    let kind = kind.ok_or_else(|| format!("tensor {name:?} holds {:?}", view.dtype()))?;
    Ok((kind, view))
}

/// What a record holds of tensors by name.
pub fn record<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<TensorsRecord, String> {
    let view = |(name, tensor): (&'a str, &'a Tensor)| {
        let failed = |reason: String| format!("output {name:?}: {reason}");
        let kind = tensor.element_type();
        let kind = kind.ok_or_else(|| failed(format!("it holds {}", tensor.dtype())))?;
        let bytes = tensor.as_bytes().map_err(|error| failed(error.to_string()))?;
        let view = TensorView::new(stored(kind), tensor.shape(), bytes);
        Ok((name, view.map_err(|error| failed(error.to_string()))?))
    };
    let views = tensors.into_iter().map(view).collect::<Result<Vec<_>, String>>()?;
    let bytes = safetensors::serialize(views, None).map_err(|error| error.to_string())?;
    Ok(TensorsRecord {
        size: bytes.len(),
        sha256: sha256([bytes.as_slice()]),
        data: STANDARD.encode(&bytes),
    })
}

/// The name that the format has for a type.
const fn stored(kind: ElementType) -> Dtype {
    match kind {
        ElementType::Float64 => Dtype::F64,
        ElementType::Float32 => Dtype::F32,
        ElementType::Float16 => Dtype::F16,
        ElementType::Int64 => Dtype::I64,
        ElementType::Int32 => Dtype::I32,
        ElementType::Int16 => Dtype::I16,
        ElementType::Int8 => Dtype::I8,
        ElementType::UInt8 => Dtype::U8,
        ElementType::Bool => Dtype::BOOL,
    }
}

/// SHA-256 of the parts behind one another, in lower-case hexadecimal digits.
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let digits = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
    digest.finalize().into_iter().flat_map(digits).flatten().collect()
}

fn decoded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes in base64")
        }

        // The text is borrowed from the order, so that its bytes are never in memory a third time.
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            STANDARD.decode(text).map_err(|error| E::custom(format!("no base64: {error}")))
        }
    }

    deserializer.deserialize_str(Text)
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;

    fn blob(dtype: Dtype) -> Value {
        let bytes: Vec<u8> = [1.0_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = vec![1, bytes.len() * 8 / dtype.bitsize()];
        let view = TensorView::new(dtype, shape, &bytes).unwrap();
        let bytes = safetensors::serialize([("x", view)], None).unwrap();
        json!({"size": bytes.len(), "sha256": sha256([bytes.as_slice()]), "data": STANDARD.encode(&bytes)})
    }

    fn checked(sent: &Value, names: &[&str]) -> Result<(), String> {
        let sent: SentTensors =
            serde_json::from_str(&sent.to_string()).map_err(|error| error.to_string())?;
        sent.check(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_hash_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256([b"a".as_slice(), b"bc"]), expected);
    }

    #[test]
    fn tensors_that_arrive_whole_are_taken() {
        assert_eq!(checked(&blob(Dtype::F32), &["x"]), Ok(()));
        assert_eq!(checked(&blob(Dtype::I64), &["x"]), Ok(()));
    }

    #[test]
    fn anything_else_is_told() {
        let refused = |sent: &Value, names: &[&str], reason: &str| {
            let error = checked(sent, names).unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        refused(&blob(Dtype::BF16), &["x"], "holds BF16");
        refused(&blob(Dtype::F32), &["y"], "the model takes [\"y\"]");
        refused(&blob(Dtype::F32), &["x", "y"], "the model takes [\"x\", \"y\"]");
        let whole = blob(Dtype::F32);
        let mut bytes = STANDARD.decode(whole["data"].as_str().unwrap()).unwrap();
        let last = bytes.len() - 1;
        for (change, reason) in [
            (json!({"size": 7}), "arrived of 7"),
            (json!({"data": "AACAPwAAAMA"}), "no base64"),
            (json!({"more": 1}), "unknown field"),
        ] {
            let mut sent = whole.clone();
            sent.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            refused(&sent, &["x"], reason);
        }
        bytes[last] ^= 1;
        let mut sent = whole.clone();
        sent["data"] = STANDARD.encode(&bytes).into();
        refused(&sent, &["x"], "not those that were sent");
        bytes[0] = 255;
        sent["data"] = STANDARD.encode(&bytes).into();
        sent["sha256"] = sha256([bytes.as_slice()]).into();
        refused(&sent, &["x"], "no safetensors");
    }
}
