//! No step of the greedy loop allocates: neither this workspace's code nor TVM's.
//!
//! Rust's allocations are counted by a global allocator, everybody's (TVM is C++, linked into this very
//! program) by standing in for the C library's functions, which glibc allows. `free` stays glibc's.
#![cfg(all(g2p_tvm_model, target_os = "linux", target_env = "gnu"))]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use charsiug2p_g2p_core::Language;
use charsiug2p_g2p_pipeline::{ArtifactResolver, ProbeOptions, Session, SystemLibMetadata};
use charsiug2p_g2p_tvm::DeviceConfig;

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

/// glibc's own, by the names under which it keeps them for whoever stands in.
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
fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    OF_RUST.store(0, SeqCst);
    OF_ALL.store(0, SeqCst);
    COUNTING.store(true, SeqCst);
    let result = work();
    COUNTING.store(false, SeqCst);
    (result, OF_RUST.load(SeqCst), OF_ALL.load(SeqCst))
}

/// A session that stops after so many steps.
fn session(metadata: &SystemLibMetadata, steps: usize) -> Session {
    let mut config = metadata.config.clone();
    config.max_output_len = steps.min(config.max_output_len);
    Session::load(config, &metadata.prefixes, DeviceConfig::cpu(), |_, _| {}).unwrap()
}

const WORDS: [&str; 4] = ["internationalization", "a", "Char", "siu"];

/// The one test of this program, for another one's allocations would be counted, too.
#[test]
fn the_number_of_steps_does_not_change_the_number_of_allocations() {
    let (_, rust, all) = allocations(|| std::hint::black_box(vec![1_u8; 100]));
    assert_eq!((rust, all), (1, 1), "what is counted");

    let metadata = ArtifactResolver::new().resolve().unwrap().metadata;
    let (format, language) = (metadata.prompt_format(), Language::new("eng-us", None).unwrap());
    let prompts = WORDS.map(|word| format.prompt(&language, word).unwrap());
    let probe = ProbeOptions::default();
    let mut seen = Vec::new();
    for cap in [1, 2, 5, 20, usize::MAX] {
        let mut session = session(&metadata, cap);
        let words = session.config().batch_size.min(prompts.len());
        for _ in 0..3 {
            session.run(&prompts[..words], &probe).unwrap();
        }
        let (result, rust, all) = allocations(|| session.run(&prompts[..words], &probe));
        seen.push((result.unwrap().timings.steps.len(), rust, all));
    }
    println!("steps, Rust's allocations, all allocations: {seen:?}");
    let (fewest, most) = (seen[0].0, seen[seen.len() - 1].0);
    assert!(fewest == 1 && most > 5, "{seen:?}");
    assert!(seen.iter().all(|&(_, rust, _)| rust == seen[0].1), "{seen:?}");
    // TVM's wheels allocate at every call; our own build of it (harness/native/patches.py) does not.
    if option_env!("G2P_TVM_STATIC_LINK") == Some("1") {
        assert!(seen.iter().all(|&(_, _, all)| all == seen[0].2), "{seen:?}");
    }
}
