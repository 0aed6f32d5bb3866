//! References to TVM's objects.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::layout::{index, DlTensor, ObjectHeader};
use super::{TVMFFIObjectDecRef, TVMFFIObjectIncRef};

/// One strong reference to an object of TVM's. Neither `Send` nor `Sync`: a virtual machine and its
/// functions share state that nothing locks.
#[derive(Debug)]
pub struct Object(NonNull<ObjectHeader>);

impl Object {
    /// Takes over a reference that TVM handed out; null is none.
    pub(super) fn from_owned(pointer: *mut ObjectHeader) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    pub fn as_ptr(&self) -> *mut ObjectHeader {
        self.0.as_ptr()
    }

    pub(super) fn type_index(&self) -> i32 {
        // SAFETY: the object is alive while `self` holds its reference.
        unsafe { self.0.as_ref() }.type_index
    }

    /// Whether this is the only strong reference.
    pub fn is_unique(&self) -> bool {
        // SAFETY: as above. Acquire pairs with the release of the decrement, as in `Arc`.
        let counts = unsafe { self.0.as_ref() }.counts.load(Ordering::Acquire);
        counts & u64::from(u32::MAX) == 1
    }

    pub(super) fn dl_tensor(&self) -> Option<&DlTensor> {
        if self.type_index() != index::TENSOR {
            return None;
        }
        // SAFETY: a tensor object's header is followed by its DLTensor.
        Some(unsafe { &*self.0.as_ptr().add(1).cast::<DlTensor>() })
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        // SAFETY: the object is alive; the new value owns the new reference.
        unsafe { TVMFFIObjectIncRef(self.0.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this value owns.
        unsafe { TVMFFIObjectDecRef(self.0.as_ptr()) };
    }
}
