//! Tensors in the CPU's memory, with shapes known only at run time.

use crate::error::TvmError;
use crate::ffi::{self, Element, Object};

/// A tensor: memory of ours that TVM reads and writes in place, or a result of TVM's read in place.
///
/// Elements are row-major without gaps.
#[derive(Debug)]
pub struct Tensor(pub(crate) Object);

impl Tensor {
    /// A new tensor of zeroes.
    ///
    /// # Errors
    /// [`TvmError::NotLinked`], [`TvmError::TooLarge`].
    pub fn zeros<T: Element>(shape: &[usize]) -> Result<Self, TvmError> {
        ffi::host_tensor::<T>(shape).map(Self)
    }

    /// A new tensor with a copy of these elements.
    ///
    /// # Errors
    /// Those of [`Tensor::zeros`], and [`TvmError::Shape`] when the data does not fill the shape.
    pub fn from_slice<T: Element>(shape: &[usize], data: &[T]) -> Result<Self, TvmError> {
        let mut tensor = Self::zeros::<T>(shape)?;
        tensor.write(data)?;
        Ok(tensor)
    }

    /// The extents as TVM keeps them.
    #[must_use]
    pub fn extents(&self) -> &[i64] {
        ffi::tensor_extents(&self.0)
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.extents().iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).collect()
    }

    /// The element type's name, such as `float32`.
    #[must_use]
    pub fn dtype(&self) -> String {
        ffi::tensor_dtype(&self.0).map_or_else(String::new, |dtype| dtype.to_string())
    }

    /// All elements, in place.
    ///
    /// # Errors
    /// [`TvmError::Dtype`], [`TvmError::Layout`].
    pub fn as_slice<T: Element>(&self) -> Result<&[T], TvmError> {
        ffi::tensor_slice(&self.0)
    }

    /// All elements for writing, in place.
    ///
    /// # Errors
    /// Those of [`Tensor::as_slice`], and [`TvmError::Shared`] while a result of a call still refers
    /// to this tensor.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T], TvmError> {
        ffi::tensor_slice_mut(&mut self.0)
    }

    /// Overwrites all elements.
    ///
    /// # Errors
    /// Those of [`Tensor::as_mut_slice`], and [`TvmError::Shape`] when the lengths differ.
    pub fn write<T: Element>(&mut self, data: &[T]) -> Result<(), TvmError> {
        let shape = self.shape();
        let elements = self.as_mut_slice::<T>()?;
        if elements.len() != data.len() {
            let what = "elements to write".to_owned();
            return Err(TvmError::Shape { what, expected: shape, found: vec![data.len()] });
        }
        elements.copy_from_slice(data);
        Ok(())
    }

    /// The elements below a leading index: of a tensor `[B, T, V]`, `row(&[b, t])` are `V` elements
    /// and `row(&[])` all.
    ///
    /// # Errors
    /// Those of [`Tensor::as_slice`], and [`TvmError::OutOfBounds`].
    pub fn row<T: Element>(&self, index: &[usize]) -> Result<&[T], TvmError> {
        let elements = self.as_slice::<T>()?;
        let extents = self.extents();
        let outside = || TvmError::OutOfBounds { index: index.to_vec(), shape: self.shape() };
        if index.len() > extents.len() {
            return Err(outside());
        }
        let mut size = elements.len();
        let mut start = 0;
        for (&at, &extent) in index.iter().zip(extents) {
            let extent = usize::try_from(extent).unwrap_or(0);
            if at >= extent {
                return Err(outside());
            }
            size /= extent;
            start += at * size;
        }
        elements.get(start..start + size).ok_or_else(outside)
    }

    /// Checks the shape; `what` names the tensor in the error.
    ///
    /// # Errors
    /// [`TvmError::Shape`].
    pub fn expect_shape(&self, what: &str, expected: &[usize]) -> Result<(), TvmError> {
        let extents = self.extents();
        let equal = extents.len() == expected.len()
            && extents.iter().zip(expected).all(|(&a, &b)| usize::try_from(a) == Ok(b));
        if equal {
            Ok(())
        } else {
            Err(TvmError::Shape {
                what: what.to_owned(),
                expected: expected.to_vec(),
                found: self.shape(),
            })
        }
    }
}
