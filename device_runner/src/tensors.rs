//! Tensors inside orders and records: their bytes as text, and whether they arrived as they were sent.

use std::fmt;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use charsiug2p_g2p_tvm::{ElementType, Tensor};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, FailureKind};

/// A tensor of an order; `bytes` are little-endian and row-major.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentTensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    pub sha256: String,
    #[serde(rename = "data", deserialize_with = "decoded")]
    pub bytes: Vec<u8>,
}

/// A tensor of a record.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct TensorRecord {
    pub name: String,
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    pub sha256: String,
    pub data: String,
}

impl SentTensor {
    /// The element type, after checking that the bytes are as many as the shape says and arrived whole.
    pub fn check(&self) -> Result<ElementType, String> {
        let kind: ElementType = self.dtype.parse()?;
        let size =
            self.shape.iter().try_fold(kind.size(), |size, &extent| size.checked_mul(extent));
        if size != Some(self.bytes.len()) {
            let found = self.bytes.len();
            return Err(format!("{kind} of shape {:?} does not take {found} bytes", self.shape));
        }
        if sha256([self.bytes.as_slice()]) != self.sha256 {
            return Err("its bytes are not those that were sent (SHA-256)".to_owned());
        }
        Ok(kind)
    }
}

impl TensorRecord {
    pub fn new(name: &str, tensor: &Tensor) -> Result<Self, Failure> {
        let failed = |reason: &dyn ToString| {
            Failure::new(FailureKind::Model, format!("output {name:?}: {}", reason.to_string()))
        };
        let kind = tensor
            .element_type()
            .ok_or_else(|| failed(&format!("it holds {}, which no record can", tensor.dtype())))?;
        let bytes = tensor.as_bytes().map_err(|error| failed(&error))?;
        Ok(Self {
            name: name.to_owned(),
            dtype: kind.name(),
            shape: tensor.shape(),
            sha256: sha256([bytes]),
            data: STANDARD.encode(bytes),
        })
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
    use serde_json::json;

    use super::*;

    fn sent(change: &serde_json::Value) -> Result<ElementType, String> {
        let bytes: Vec<u8> = [1.0_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut tensor = json!({"name": "x", "dtype": "float32", "shape": [1, 2],
            "sha256": sha256([bytes.as_slice()]), "data": STANDARD.encode(&bytes)});
        for (key, value) in change.as_object().unwrap() {
            tensor[key] = value.clone();
        }
        let tensor: SentTensor =
            serde_json::from_str(&tensor.to_string()).map_err(|error| error.to_string())?;
        tensor.check()
    }

    #[test]
    fn the_hash_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256([b"a".as_slice(), b"bc"]), expected);
    }

    #[test]
    fn a_tensor_that_arrives_whole_is_taken() {
        assert_eq!(sent(&json!({})), Ok(ElementType::Float32));
    }

    #[test]
    fn anything_else_is_told() {
        for (change, reason) in [
            (json!({"dtype": "complex64"}), "unknown element type"),
            (json!({"shape": [3]}), "of shape [3] does not take 8 bytes"),
            (json!({"shape": [usize::MAX, 4]}), "does not take 8 bytes"),
            (json!({"dtype": "float16"}), "does not take 8 bytes"),
            (json!({"data": "AACAPwAAAMA"}), "no base64"),
            (json!({"data": "AACAPwAAAME="}), "not those that were sent"),
            (json!({"more": 1}), "unknown field"),
        ] {
            let error = sent(&change).unwrap_err();
            assert!(error.contains(reason), "{change}: {error}");
        }
    }
}
