//! The memory of tensors: ours given to TVM, and TVM's read in place.

use std::ptr::{self, NonNull};

use super::{
    check_linked, raised, DlDevice, DlManagedTensor, DlTensor, Dtype, Object,
    TVMFFITensorFromDLPack,
};
use crate::error::TvmError;

/// Bytes; what TVM's own allocators align to and its kernels may assume.
const BLOCK: usize = 64;
const ALIGNMENT: i32 = 64;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i32 {}
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

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Block([u8; BLOCK]);

/// A tensor's memory, owned by the tensor object through its deleter.
struct HostStorage {
    managed: DlManagedTensor,
    _blocks: Vec<Block>,
    _shape: Box<[i64]>,
}

unsafe extern "C" fn free_host_storage(managed: *mut DlManagedTensor) {
    // SAFETY: called once, by the last reference's end, with the tensor that `host_tensor` made:
    // its context is a box of this type.
    drop(unsafe { Box::from_raw((*managed).context.cast::<HostStorage>()) });
}

/// A zeroed tensor in memory of ours, aligned as TVM's own.
pub fn host_tensor<T: Element>(shape: &[usize]) -> Result<Object, TvmError> {
    check_linked()?;
    let too_large = || TvmError::TooLarge(shape.to_vec());
    let bytes = shape
        .iter()
        .try_fold(size_of::<T>(), |bytes, &extent| bytes.checked_mul(extent))
        .filter(|&bytes| bytes < isize::MAX as usize - BLOCK)
        .ok_or_else(too_large)?;
    let mut extents = shape
        .iter()
        .map(|&extent| i64::try_from(extent))
        .collect::<Result<Box<[i64]>, _>>()
        .map_err(|_| too_large())?;
    let mut blocks = Vec::new();
    let count = bytes.div_ceil(BLOCK);
    blocks.try_reserve_exact(count).map_err(|_| too_large())?;
    blocks.resize(count, Block([0; BLOCK]));
    let tensor = DlTensor {
        data: blocks.as_mut_ptr().cast(),
        device: DlDevice { kind: 1, id: 0 },
        ndim: i32::try_from(shape.len()).map_err(|_| too_large())?,
        dtype: T::DTYPE,
        shape: extents.as_mut_ptr(),
        strides: ptr::null_mut(),
        byte_offset: 0,
    };
    let managed =
        DlManagedTensor { tensor, context: ptr::null_mut(), deleter: Some(free_host_storage) };
    let storage =
        Box::into_raw(Box::new(HostStorage { managed, _blocks: blocks, _shape: extents }));
    let mut out = ptr::null_mut();
    // SAFETY: `storage` is a live box, and its context is set before TVM can call the deleter.
    let status = unsafe {
        (*storage).managed.context = storage.cast();
        let managed = &raw mut (*storage).managed;
        TVMFFITensorFromDLPack(managed, ALIGNMENT, 1, &raw mut out)
    };
    if status != 0 {
        // SAFETY: TVM takes the storage over only when it succeeds.
        drop(unsafe { Box::from_raw(storage) });
        return Err(raised(status, &"wrapping a tensor"));
    }
    Object::from_owned(out).ok_or(TvmError::Layout("TVM made no tensor of it"))
}

/// The extents of a tensor object; none of anything else.
pub fn tensor_extents(object: &Object) -> &[i64] {
    object.dl_tensor().map_or(&[], extents)
}

/// The element type of a tensor object.
pub fn tensor_dtype(object: &Object) -> Option<Dtype> {
    object.dl_tensor().map(|tensor| tensor.dtype)
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
    let tensor = object.dl_tensor().ok_or(TvmError::Layout("it is no tensor"))?;
    if tensor.dtype != T::DTYPE {
        return Err(TvmError::Dtype { expected: T::NAME, found: tensor.dtype.to_string() });
    }
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
    if count == 0 {
        return Ok((NonNull::dangling().as_ptr(), 0));
    }
    let data = tensor.data.cast::<u8>().wrapping_add(tensor.byte_offset as usize).cast::<T>();
    if data.is_null() || !data.is_aligned() {
        return Err(TvmError::Layout("its memory is null or not aligned"));
    }
    Ok((data, count))
}

/// The elements of a CPU tensor in row-major order, in place.
pub fn tensor_slice<T: Element>(object: &Object) -> Result<&[T], TvmError> {
    let (data, count) = elements::<T>(object)?;
    // SAFETY: checked above; the memory lives as long as the object, and only `tensor_slice_mut`
    // (which needs the only reference) and running functions write to it.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// The same for writing; refused while anything else holds the tensor.
pub fn tensor_slice_mut<T: Element>(object: &mut Object) -> Result<&mut [T], TvmError> {
    if !object.is_unique() {
        return Err(TvmError::Shared);
    }
    let (data, count) = elements::<T>(object)?;
    // SAFETY: as above, and the only reference is borrowed exclusively: a result that shares the
    // memory would hold another one.
    Ok(unsafe { std::slice::from_raw_parts_mut(data, count) })
}
