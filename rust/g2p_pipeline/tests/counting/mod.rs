//! Counts the allocations of a piece of work, on the thread that does it. Other threads are left out: the program that runs
//! tests has one that allocates at times of its own.
//!
//! Rust's allocations are counted by a global allocator, everybody's (TVM is C++, linked into this very
//! program) by replacing the C library's functions, which glibc allows. `free` stays glibc's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::thread::LocalKey;

// Initialised by a constant and without a destructor, so that to use them allocates nothing.
thread_local! {
    static OF_RUST: Cell<usize> = const { Cell::new(0) };
    static OF_ALL: Cell<usize> = const { Cell::new(0) };
}

fn count(counter: &'static LocalKey<Cell<usize>>) {
    counter.set(counter.get() + 1);
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

/// Allocations of this thread while `work` runs: of Rust's, and of all of the program.
pub fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = (OF_RUST.get(), OF_ALL.get());
    let result = work();
    (result, OF_RUST.get() - before.0, OF_ALL.get() - before.1)
}
