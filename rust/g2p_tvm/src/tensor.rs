//! Tensors in the CPU's memory, with shapes known only at run time.

use crate::element::ElementType;
use crate::error::TvmError;
use crate::ffi::{Element, TensorObject};

/// A tensor: memory of ours that TVM reads and writes in place, or a result of TVM's read in place.
///
/// Elements are row-major without gaps.
#[derive(Debug)]
pub struct Tensor(pub(crate) TensorObject);

impl Tensor {
    /// A new tensor of zeroes.
    ///
    /// # Errors
    /// [`TvmError::NotLinked`], [`TvmError::TooLarge`].
    pub fn zeros<T: Element>(shape: &[usize]) -> Result<Self, TvmError> {
        TensorObject::zeros::<T>(shape).map(Self)
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

    /// A new tensor of a type known only when the program runs, with a copy of these bytes, in this
    /// machine's order.
    ///
    /// # Errors
    /// Those of [`Tensor::zeros`], and [`TvmError::Shape`] when the bytes do not fill the shape.
    pub fn from_bytes(kind: ElementType, shape: &[usize], data: &[u8]) -> Result<Self, TvmError> {
        let mut object = TensorObject::zeros_of(kind.dtype(), shape)?;
        let bytes = object.bytes_mut()?;
        if bytes.len() != data.len() {
            let (what, found) = (format!("bytes of a {kind} tensor"), vec![data.len()]);
            return Err(TvmError::Shape { what, expected: vec![bytes.len()], found });
        }
        bytes.copy_from_slice(data);
        Ok(Self(object))
    }

    /// The bytes of all elements, in place and in this machine's order.
    ///
    /// # Errors
    /// [`TvmError::Layout`].
    pub fn as_bytes(&self) -> Result<&[u8], TvmError> {
        self.0.bytes()
    }

    /// The element type; none for one that no model of ours has.
    #[must_use]
    pub fn element_type(&self) -> Option<ElementType> {
        self.0.dtype().and_then(ElementType::of)
    }

    /// The extents as TVM keeps them.
    #[must_use]
    pub fn extents(&self) -> &[i64] {
        self.0.extents()
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.extents().iter().map(|&extent| usize::try_from(extent).unwrap_or(0)).collect()
    }

    /// Gives a tensor made by [`Tensor::zeros`] another shape, of as many axes, over the start of the
    /// memory it was made with: one buffer for batches and texts of every size.
    ///
    /// # Errors
    /// [`TvmError::Shape`] for another number of axes or more elements than the memory holds,
    /// [`TvmError::Shared`] as in [`Tensor::as_mut_slice`].
    pub fn set_shape(&mut self, shape: &[usize]) -> Result<(), TvmError> {
        self.0.set_shape(shape)
    }

    /// Whether something else refers to this tensor, too: a result, or TVM. A virtual machine keeps
    /// what it returned last until it returns something else.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.0.object().is_unique()
    }

    /// Whether both refer to one tensor.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.object().as_ptr() == other.0.object().as_ptr()
    }

    /// The element type's name, such as `float32`.
    #[must_use]
    pub fn dtype(&self) -> String {
        self.0.dtype().map_or_else(String::new, |dtype| dtype.to_string())
    }

    /// All elements, in place.
    ///
    /// # Errors
    /// [`TvmError::Dtype`], [`TvmError::Layout`].
    pub fn as_slice<T: Element>(&self) -> Result<&[T], TvmError> {
        self.0.slice()
    }

    /// All elements for writing, in place.
    ///
    /// # Errors
    /// Those of [`Tensor::as_slice`], and [`TvmError::Shared`] while [`Tensor::is_shared`].
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T], TvmError> {
        self.0.slice_mut()
    }

    /// Overwrites all elements.
    ///
    /// # Errors
    /// Those of [`Tensor::as_mut_slice`], and [`TvmError::Shape`] when the lengths differ.
    pub fn write<T: Element>(&mut self, data: &[T]) -> Result<(), TvmError> {
        let elements = self.as_mut_slice::<T>()?;
        if elements.len() != data.len() {
            let (what, found) = ("elements to write".to_owned(), vec![data.len()]);
            return Err(TvmError::Shape { what, expected: self.shape(), found });
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
