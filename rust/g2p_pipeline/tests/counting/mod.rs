//! Counts the allocations of a test's program: a file of tests that has this module has one test only, for another one's
//! allocations would be counted, too.
//!
//! Rust's allocations are counted by a global allocator, everybody's (TVM is C++, linked into this very
//! program) by standing in for the C library's functions, which glibc allows. `free` stays glibc's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

static COUNTING: AtomicBool = AtomicBool::new(false);
static OF_RUST: AtomicUsize = AtomicUsize::new(0);
static OF_ALL: AtomicUsize = AtomicUsize::new(0);

fn count(counter: &AtomicUsize) {
    if COUNTING.load(SeqCst) {
        counter.fetch_add(1, SeqCst);
    }
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(&OF_RUST);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(&OF_RUST);
        // SAFETY: by the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// glibc's own, by the names under which it keeps them for programs that replace them.
mod glibc {
    use super::c_void;

    unsafe extern "C" {
        pub fn __libc_malloc(size: usize) -> *mut c_void;
        pub fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        pub fn __libc_realloc(pointer: *mut c_void, size: usize) -> *mut c_void;
        pub fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    }
}

// SAFETY of the five below: each keeps the contract of the function it stands in for by handing its
// arguments on; what they return is glibc's, so that glibc's `free` takes it back.

#[no_mangle]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    count(&OF_ALL);
    // SAFETY: see above.
    unsafe { glibc::__libc_malloc(size) }
}

#[no_mangle]
unsafe extern "C" fn calloc(elements: usize, size: usize) -> *mut c_void {
    count(&OF_ALL);
    // SAFETY: see above.
    unsafe { glibc::__libc_calloc(elements, size) }
}

#[no_mangle]
unsafe extern "C" fn realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    count(&OF_ALL);
    // SAFETY: see above.
    unsafe { glibc::__libc_realloc(pointer, size) }
}

#[no_mangle]
unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    count(&OF_ALL);
    // SAFETY: see above.
    unsafe { glibc::__libc_memalign(alignment, size) }
}

#[no_mangle]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    const ENOMEM: c_int = 12;
    count(&OF_ALL);
    // SAFETY: see above.
    let pointer = unsafe { glibc::__libc_memalign(alignment, size) };
    if pointer.is_null() {
        return ENOMEM;
    }
    // SAFETY: the caller promises that `out` can be written.
    unsafe { out.write(pointer) };
    0
}

/// Allocations while `work` runs: of Rust's, and of the whole program's.
pub fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    OF_RUST.store(0, SeqCst);
    OF_ALL.store(0, SeqCst);
    COUNTING.store(true, SeqCst);
    let result = work();
    COUNTING.store(false, SeqCst);
    (result, OF_RUST.load(SeqCst), OF_ALL.load(SeqCst))
}
