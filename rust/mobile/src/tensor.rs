//! Tensors as apps give and get them, and their comparison with what a model takes.

use std::fmt;

use charsiug2p_g2p_tvm::{ElementType, TvmError};
use serde::Deserialize;

use crate::error::MobileError;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, uniffi::Enum)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
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

impl DataType {
    /// Every one of them. The position of each is its number in C.
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

    pub(crate) const fn element(self) -> ElementType {
        match self {
            Self::Float64 => ElementType::Float64,
            Self::Float32 => ElementType::Float32,
            Self::Float16 => ElementType::Float16,
            Self::Int64 => ElementType::Int64,
            Self::Int32 => ElementType::Int32,
            Self::Int16 => ElementType::Int16,
            Self::Int8 => ElementType::Int8,
            Self::UInt8 => ElementType::UInt8,
            Self::Bool => ElementType::Bool,
        }
    }

    pub(crate) fn of(element: ElementType) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.element() == element)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.element().fmt(f)
    }
}

/// A tensor with its name. Elements are row-major without gaps, in this machine's byte order.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct NamedTensor {
    /// The input's or output's name in the model.
    pub name: String,
    /// The type of the elements.
    pub data_type: DataType,
    /// The extents, the outermost first.
    pub shape: Vec<u64>,
    /// The elements' bytes.
    pub data: Vec<u8>,
}

impl NamedTensor {
    /// A tensor of float32.
    #[must_use]
    pub fn floats(name: &str, shape: &[u64], values: &[f32]) -> Self {
        let data = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        Self { name: name.to_owned(), data_type: DataType::Float32, shape: shape.to_vec(), data }
    }

    /// The elements of a tensor of float32; none of another type.
    #[must_use]
    pub fn to_floats(&self) -> Option<Vec<f32>> {
        let number = |bytes: &[u8]| bytes.try_into().map(f32::from_ne_bytes).unwrap_or_default();
        (self.data_type == DataType::Float32)
            .then(|| self.data.chunks_exact(4).map(number).collect())
    }
}

/// An extent of a shape that a model takes.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Extent {
    /// Always this.
    Fixed {
        /// How many.
        size: u64,
    },
    /// Anything that the model was compiled for, the same in every place with this name.
    Named {
        /// The dimension's name.
        name: String,
    },
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { size } => size.fmt(f),
            Self::Named { name } => name.fmt(f),
        }
    }
}

/// An input that a model takes.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct InputInfo {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub data_type: DataType,
    /// Its shape.
    pub shape: Vec<Extent>,
}

impl InputInfo {
    fn wrong_shape(&self, found: &[u64]) -> MobileError {
        let expected: Vec<String> = self.shape.iter().map(Extent::to_string).collect();
        MobileError::WrongShape {
            input: self.name.clone(),
            expected: expected.join(", "),
            found: found.to_vec(),
        }
    }
}

/// The tensors in the order of the model's inputs, all of them checked.
///
/// # Errors
/// [`MobileError::WrongInputs`], [`MobileError::WrongType`], [`MobileError::WrongShape`], [`MobileError::WrongSize`].
pub(crate) fn in_order<'a>(
    inputs: &[InputInfo],
    given: &'a [NamedTensor],
) -> Result<Vec<&'a NamedTensor>, MobileError> {
    let find = |input: &InputInfo| given.iter().find(|tensor| tensor.name == input.name);
    let found: Vec<&NamedTensor> = inputs.iter().filter_map(find).collect();
    // With as many given as there are, each of them found: none is unknown, missing or there twice.
    if found.len() != inputs.len() || given.len() != inputs.len() {
        return Err(MobileError::WrongInputs {
            expected: inputs.iter().map(|input| input.name.clone()).collect(),
            found: given.iter().map(|tensor| tensor.name.clone()).collect(),
        });
    }
    let mut named: Vec<(&str, u64)> = Vec::new();
    for (input, tensor) in inputs.iter().zip(&found) {
        check(input, tensor, &mut named)?;
    }
    Ok(found)
}

fn check<'a>(
    input: &'a InputInfo,
    tensor: &NamedTensor,
    named: &mut Vec<(&'a str, u64)>,
) -> Result<(), MobileError> {
    if tensor.data_type != input.data_type {
        return Err(MobileError::WrongType {
            input: input.name.clone(),
            expected: input.data_type.to_string(),
            found: tensor.data_type.to_string(),
        });
    }
    if tensor.shape.len() != input.shape.len() {
        return Err(input.wrong_shape(&tensor.shape));
    }
    for (extent, &size) in input.shape.iter().zip(&tensor.shape) {
        let fits = match extent {
            Extent::Fixed { size: fixed } => *fixed == size,
            Extent::Named { name } => {
                let known = named.iter().find(|(one, _)| one == name).map(|(_, size)| *size);
                if known.is_none() {
                    named.push((name, size));
                }
                size > 0 && known.is_none_or(|known| known == size)
            }
        };
        if !fits {
            return Err(input.wrong_shape(&tensor.shape));
        }
    }
    let bytes = tensor.shape.iter().try_fold(1_u64, |count, &extent| count.checked_mul(extent));
    let size = tensor.data_type.element().size() as u64;
    let expected = bytes.and_then(|count| count.checked_mul(size));
    let expected = expected.ok_or_else(|| input.wrong_shape(&tensor.shape))?;
    let found = tensor.data.len() as u64;
    if found == expected {
        Ok(())
    } else {
        Err(MobileError::WrongSize { input: input.name.clone(), expected, found })
    }
}

/// The tensor where TVM reads it.
pub(crate) fn to_tvm(tensor: &NamedTensor) -> Result<charsiug2p_g2p_tvm::Tensor, TvmError> {
    let extent = |&extent: &u64| usize::try_from(extent).unwrap_or(usize::MAX);
    let shape: Vec<usize> = tensor.shape.iter().map(extent).collect();
    charsiug2p_g2p_tvm::Tensor::from_bytes(tensor.data_type.element(), &shape, &tensor.data)
}

/// A copy of what a model returned.
pub(crate) fn from_tvm(
    name: &str,
    tensor: &charsiug2p_g2p_tvm::Tensor,
) -> Result<NamedTensor, TvmError> {
    let data_type = tensor.element_type().and_then(DataType::of);
    let data_type =
        data_type.ok_or(TvmError::Layout("it holds a type that no model of ours has"))?;
    Ok(NamedTensor {
        name: name.to_owned(),
        data_type,
        shape: tensor.shape().into_iter().map(|extent| extent as u64).collect(),
        data: tensor.as_bytes()?.to_vec(),
    })
}

#[cfg(test)]
#[path = "tensor_tests.rs"]
mod tests;
