//! The memory of tensors: ours given to TVM, and TVM's read in place.

use std::alloc::{alloc_zeroed, dealloc, Layout};
use std::ptr::{self, NonNull};

use super::layout::{DlDevice, DlManagedTensor, DlTensor, Dtype};
use super::{check_linked, raised, Object, TVMFFITensorFromDLPack};
use crate::error::TvmError;

/// Bytes; what TVM's own allocators align to and its kernels may assume.
const ALIGNMENT: u8 = 64;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i32 {}
    impl Sealed for super::Float16 {}
}

/// A type that tensors of this crate can hold: every bit pattern is valid, and zeroes are zero.
pub trait Element: sealed::Sealed + Copy + 'static {
    #[doc(hidden)]
    const DTYPE: Dtype;
    /// The name in messages.
    const NAME: &'static str;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype { code: 2, bits: 32, lanes: 1 };
    const NAME: &'static str = "float32";
}

impl Element for i32 {
    const DTYPE: Dtype = Dtype { code: 0, bits: 32, lanes: 1 };
    const NAME: &'static str = "int32";
}

/// The bits of an IEEE half; only compiled functions compute with them.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Float16(pub u16);

impl Element for Float16 {
    const DTYPE: Dtype = Dtype { code: 2, bits: 16, lanes: 1 };
    const NAME: &'static str = "float16";
}

/// Zeroed memory of the C library's. Pages that nobody writes to never become resident, which
/// an alignment of 64 asked of the allocator would spoil: then they are cleared by hand.
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    fn zeroed(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes.checked_add(ALIGNMENT.into())?, 8).ok()?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, layout })
    }

    /// The first aligned byte; as many as asked for follow.
    fn aligned(&self) -> *mut u8 {
        let start = self.start.as_ptr();
        start.wrapping_add(start.addr().wrapping_neg() % usize::from(ALIGNMENT))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// A tensor's memory and shape, owned by the tensor object through its deleter.
struct HostStorage {
    managed: DlManagedTensor,
    _memory: Memory,
    _shape: Box<[i64]>,
}

unsafe extern "C" fn free_host_storage(managed: *mut DlManagedTensor) {
    // SAFETY: called once, by the last reference's end, with the tensor that `zeros` made: its
    // context is a box of this type.
    drop(unsafe { Box::from_raw((*managed).context.cast::<HostStorage>()) });
}

/// A reference to a tensor object, and what is known of its memory.
#[derive(Debug)]
pub struct TensorObject {
    object: Object,
    /// Elements that the memory holds; none for TVM's own memory, whose size TVM does not report.
    capacity: Option<usize>,
}

impl From<Object> for TensorObject {
    fn from(object: Object) -> Self {
        Self { object, capacity: None }
    }
}

impl TensorObject {
    /// A zeroed tensor in memory of ours, aligned as TVM's own.
    pub fn zeros<T: Element>(shape: &[usize]) -> Result<Self, TvmError> {
        Self::zeros_of(T::DTYPE, shape)
    }

    /// The same of a type known only when it runs.
    pub fn zeros_of(dtype: Dtype, shape: &[usize]) -> Result<Self, TvmError> {
        check_linked()?;
        let too_large = || TvmError::TooLarge(shape.to_vec());
        let capacity = count(shape).ok_or_else(too_large)?;
        let memory =
            capacity.checked_mul(dtype.bytes()).and_then(Memory::zeroed).ok_or_else(too_large)?;
        let mut extents = shape
            .iter()
            .map(|&extent| i64::try_from(extent))
            .collect::<Result<Box<[i64]>, _>>()
            .map_err(|_| too_large())?;
        let tensor = DlTensor {
            data: memory.aligned().cast(),
            device: DlDevice { kind: 1, id: 0 },
            ndim: i32::try_from(shape.len()).map_err(|_| too_large())?,
            dtype,
            shape: extents.as_mut_ptr(),
            strides: ptr::null_mut(),
            byte_offset: 0,
        };
        let managed =
            DlManagedTensor { tensor, context: ptr::null_mut(), deleter: Some(free_host_storage) };
        let storage =
            Box::into_raw(Box::new(HostStorage { managed, _memory: memory, _shape: extents }));
        let mut out = ptr::null_mut();
        // SAFETY: `storage` is a live box, and its context is set before TVM can call the deleter.
        let status = unsafe {
            (*storage).managed.context = storage.cast();
            let managed = &raw mut (*storage).managed;
            TVMFFITensorFromDLPack(managed, ALIGNMENT.into(), 1, &raw mut out)
        };
        if status != 0 {
            // SAFETY: TVM takes the storage over only when it succeeds.
            drop(unsafe { Box::from_raw(storage) });
            return Err(raised(status, &"wrapping a tensor"));
        }
        let object = Object::from_owned(out).ok_or(TvmError::Layout("TVM made no tensor of it"))?;
        Ok(Self { object, capacity: Some(capacity) })
    }

    pub fn object(&self) -> &Object {
        &self.object
    }

    /// None for what is no tensor.
    pub fn extents(&self) -> &[i64] {
        self.object.dl_tensor().map_or(&[], extents)
    }

    pub fn dtype(&self) -> Option<Dtype> {
        self.object.dl_tensor().map(|tensor| tensor.dtype)
    }

    /// Gives the tensor another shape of as many axes, over the start of the same memory.
    pub fn set_shape(&mut self, shape: &[usize]) -> Result<(), TvmError> {
        if !self.object.is_unique() {
            return Err(TvmError::Shared);
        }
        let tensor = self.object.dl_tensor().ok_or(TvmError::Layout("it is not a tensor"))?;
        let fits = self.capacity.is_some_and(|all| count(shape).is_some_and(|count| count <= all))
            && extents(tensor).len() == shape.len()
            && shape.iter().all(|&extent| i64::try_from(extent).is_ok());
        if !fits {
            return Err(TvmError::Shape {
                what: "the new shape of a tensor".to_owned(),
                expected: extents(tensor).iter().map(|&e| e.try_into().unwrap_or(0)).collect(),
                found: shape.to_vec(),
            });
        }
        let mut stride = 1;
        for (at, &extent) in shape.iter().enumerate().rev() {
            let extent = i64::try_from(extent).unwrap_or(i64::MAX);
            // SAFETY: the tensor has as many extents, and strides unless there are none at all, in
            // memory of its own; nobody else refers to it, and `self` is borrowed exclusively.
            unsafe {
                tensor.shape.add(at).write(extent);
                if !tensor.strides.is_null() {
                    tensor.strides.add(at).write(stride);
                }
            }
            stride = stride.saturating_mul(extent);
        }
        Ok(())
    }

    /// The elements of a CPU tensor in row-major order, in place.
    pub fn slice<T: Element>(&self) -> Result<&[T], TvmError> {
        let (data, count) = elements::<T>(&self.object)?;
        // SAFETY: checked above; the memory lives as long as the object, and only `slice_mut`
        // (which needs the only reference) and running functions write to it.
        Ok(unsafe { std::slice::from_raw_parts(data, count) })
    }

    /// The bytes of a CPU tensor's elements in row-major order, in place, whatever their type.
    pub fn bytes(&self) -> Result<&[u8], TvmError> {
        let (data, size) = memory(&self.object)?;
        // SAFETY: checked above, and as for `slice`.
        Ok(unsafe { std::slice::from_raw_parts(data, size) })
    }

    /// The same for writing; refused while anything else holds the tensor.
    pub fn bytes_mut(&mut self) -> Result<&mut [u8], TvmError> {
        if !self.object.is_unique() {
            return Err(TvmError::Shared);
        }
        let (data, size) = memory(&self.object)?;
        // SAFETY: as above, and the only reference is borrowed exclusively.
        Ok(unsafe { std::slice::from_raw_parts_mut(data, size) })
    }

    /// The same for writing; refused while anything else holds the tensor.
    pub fn slice_mut<T: Element>(&mut self) -> Result<&mut [T], TvmError> {
        if !self.object.is_unique() {
            return Err(TvmError::Shared);
        }
        let (data, count) = elements::<T>(&self.object)?;
        // SAFETY: as above, and the only reference is borrowed exclusively: a result that shares
        // the memory would hold another one.
        Ok(unsafe { std::slice::from_raw_parts_mut(data, count) })
    }
}

/// Elements of a shape; none if they cannot be counted.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent))
}

fn extents(tensor: &DlTensor) -> &[i64] {
    match usize::try_from(tensor.ndim) {
        Ok(ndim) if ndim > 0 && !tensor.shape.is_null() => {
            // SAFETY: a DLTensor's shape has `ndim` extents, alive as long as the tensor.
            unsafe { std::slice::from_raw_parts(tensor.shape, ndim) }
        }
        _ => &[],
    }
}

/// Where the elements are and how many, after checking that they can be read as a slice of `T`.
fn elements<T: Element>(object: &Object) -> Result<(*mut T, usize), TvmError> {
    let tensor = object.dl_tensor().ok_or(TvmError::Layout("it is not a tensor"))?;
    if tensor.dtype != T::DTYPE {
        return Err(TvmError::Dtype { expected: T::NAME, found: tensor.dtype.to_string() });
    }
    let (data, size) = memory(object)?;
    if size == 0 {
        return Ok((NonNull::dangling().as_ptr(), 0));
    }
    let data = data.cast::<T>();
    if !data.is_aligned() {
        return Err(TvmError::Layout("its memory is null or not aligned"));
    }
    Ok((data, size / size_of::<T>()))
}

/// Where a CPU tensor's elements are and how many bytes, after checking that they lie without gaps.
fn memory(object: &Object) -> Result<(*mut u8, usize), TvmError> {
    let tensor = object.dl_tensor().ok_or(TvmError::Layout("it is not a tensor"))?;
    if tensor.device.kind != 1 {
        return Err(TvmError::Layout("it is not in the CPU's memory"));
    }
    let mut count = 1_usize;
    for (at, &extent) in extents(tensor).iter().enumerate().rev() {
        // The stride of an axis with one position means nothing.
        if extent > 1 && !tensor.strides.is_null() {
            // SAFETY: strides, where given, are as many as extents.
            let stride = unsafe { *tensor.strides.add(at) };
            if usize::try_from(stride) != Ok(count) {
                return Err(TvmError::Layout("it is not contiguous"));
            }
        }
        count = usize::try_from(extent)
            .ok()
            .and_then(|extent| count.checked_mul(extent))
            .ok_or(TvmError::Layout("its shape is not valid"))?;
    }
    let size = count
        .checked_mul(tensor.dtype.bytes())
        .ok_or(TvmError::Layout("its shape is not valid"))?;
    if size == 0 {
        return Ok((NonNull::dangling().as_ptr(), 0));
    }
    let data = tensor.data.cast::<u8>().wrapping_add(tensor.byte_offset as usize);
    if data.is_null() {
        return Err(TvmError::Layout("its memory is null or not aligned"));
    }
    Ok((data, size))
}
