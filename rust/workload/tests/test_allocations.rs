//! No step of sampling allocates.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use charsiug2p_workload::{Sampler, SamplingOptions};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: by the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn no_step_allocates() {
    let logits: Vec<f32> = (0_u16..5000).map(|one| f32::from(one % 97) / 10.0).collect();
    let options = SamplingOptions {
        temperature: 0.8,
        top_k: 4000,
        top_p: 0.99,
        min_p: 1e-6,
        repetition_penalty: 1.1,
        seed: 3,
    };
    let mut sampler = Sampler::new(options, logits.len()).unwrap();
    let before = ALLOCATIONS.load(SeqCst);
    sampler.begin(&[1, 2, 3]);
    let tokens: i64 = (0..20).map(|_| i64::from(sampler.choose(&logits).unwrap())).sum();
    assert_eq!(ALLOCATIONS.load(SeqCst), before, "{tokens}");
    drop(Box::new(tokens));
    assert!(ALLOCATIONS.load(SeqCst) > before, "the counter counts");
}
