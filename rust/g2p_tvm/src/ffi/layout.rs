//! The layouts of `tvm/ffi/c_api.h` and `dlpack.h` that this crate reads and writes.

use std::ffi::{c_char, c_void};
use std::fmt;
use std::sync::atomic::AtomicU64;

/// `TVMFFITypeIndex`.
pub mod index {
    pub const NONE: i32 = 0;
    pub const INT: i32 = 1;
    pub const BOOL: i32 = 2;
    pub const FLOAT: i32 = 3;
    pub const RAW_STR: i32 = 8;
    pub const FIRST_OBJECT: i32 = 64;
    pub const FUNCTION: i32 = 68;
    pub const TENSOR: i32 = 70;
    pub const ARRAY: i32 = 71;
    pub const MODULE: i32 = 73;
}

#[repr(C)]
pub struct ObjectHeader {
    /// Strong count in the lower half.
    pub counts: AtomicU64,
    pub type_index: i32,
    pub padding: u32,
    /// A function pointer, 8 bytes wide on every platform.
    pub deleter: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union Payload {
    pub int: i64,
    pub float: f64,
    pub text: *const c_char,
    pub object: *mut ObjectHeader,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawAny {
    pub type_index: i32,
    pub small_length: u32,
    pub payload: Payload,
}

impl RawAny {
    pub const NONE: Self =
        Self { type_index: index::NONE, small_length: 0, payload: Payload { int: 0 } };
}

#[repr(C)]
pub struct ByteArray {
    pub data: *const c_char,
    pub size: usize,
}

/// The start of the cell that follows an error object's header.
#[repr(C)]
pub struct ErrorCell {
    pub kind: ByteArray,
    pub message: ByteArray,
}

#[repr(C)]
pub struct DlDevice {
    pub kind: i32,
    pub id: i32,
}

/// `DLDataType`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dtype {
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
}

impl Dtype {
    /// Bits of one element; those of this crate have whole bytes.
    pub const fn bytes(self) -> usize {
        (self.bits as usize).div_ceil(8) * self.lanes as usize
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, bits, lanes } = self;
        match code {
            0 => write!(f, "int{bits}")?,
            1 => write!(f, "uint{bits}")?,
            2 => write!(f, "float{bits}")?,
            4 => write!(f, "bfloat{bits}")?,
            6 => f.write_str("bool")?,
            _ => write!(f, "{bits} bits of dtype code {code}")?,
        }
        if *lanes == 1 {
            Ok(())
        } else {
            write!(f, "x{lanes}")
        }
    }
}

#[repr(C)]
pub struct DlTensor {
    pub data: *mut c_void,
    pub device: DlDevice,
    pub ndim: i32,
    pub dtype: Dtype,
    pub shape: *mut i64,
    pub strides: *mut i64,
    pub byte_offset: u64,
}

#[repr(C)]
pub struct DlManagedTensor {
    pub tensor: DlTensor,
    pub context: *mut c_void,
    pub deleter: Option<unsafe extern "C" fn(*mut DlManagedTensor)>,
}
