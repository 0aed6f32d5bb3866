//! Element types that are known only when the program runs.

use std::fmt;
use std::str::FromStr;

use crate::ffi::Dtype;

/// The types that tensors of any model may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// IEEE double precision.
    Float64,
    /// IEEE single precision.
    Float32,
    /// IEEE half precision.
    Float16,
    /// Signed, eight bytes.
    Int64,
    /// Signed, four bytes.
    Int32,
    /// Signed, two bytes.
    Int16,
    /// Signed, one byte.
    Int8,
    /// Unsigned, one byte.
    UInt8,
    /// A truth value in one byte.
    Bool,
}

impl ElementType {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::Float64,
        Self::Float32,
        Self::Float16,
        Self::Int64,
        Self::Int32,
        Self::Int16,
        Self::Int8,
        Self::UInt8,
        Self::Bool,
    ];

    pub(crate) const fn dtype(self) -> Dtype {
        let (code, bits) = match self {
            Self::Float64 => (2, 64),
            Self::Float32 => (2, 32),
            Self::Float16 => (2, 16),
            Self::Int64 => (0, 64),
            Self::Int32 => (0, 32),
            Self::Int16 => (0, 16),
            Self::Int8 => (0, 8),
            Self::UInt8 => (1, 8),
            Self::Bool => (6, 8),
        };
        Dtype { code, bits, lanes: 1 }
    }

    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> usize {
        self.dtype().bytes()
    }

    pub(crate) fn of(dtype: Dtype) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.dtype() == dtype)
    }

    /// numpy's and TVM's name, such as `float32`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float64 => "float64",
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
            Self::UInt8 => "uint8",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ElementType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.into_iter().map(Self::name).collect();
            format!("unknown element type {text:?}, known are {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tvms_and_lead_back() {
        for kind in ElementType::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(ElementType::of(kind.dtype()), Some(kind));
            assert_eq!(
                kind.dtype().to_string().trim_end_matches('8'),
                kind.name().trim_end_matches('8')
            );
        }
        assert!("complex64".parse::<ElementType>().unwrap_err().contains("known are float64, "));
    }

    #[test]
    fn sizes_are_whole_bytes() {
        let sizes = ElementType::ALL.map(ElementType::size);
        assert_eq!(sizes, [8, 4, 2, 8, 4, 2, 1, 1, 1]);
    }
}
