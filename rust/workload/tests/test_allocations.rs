//! No step of sampling allocates.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

#[path = "../../g2p_pipeline/tests/counting/mod.rs"]
mod counting;

use charsiug2p_workload::{Sampler, SamplingOptions};

use counting::allocations;

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
    let (tokens, rust, all) = allocations(|| {
        sampler.begin(&[1, 2, 3]);
        (0..20).map(|_| i64::from(sampler.choose(&logits).unwrap())).sum::<i64>()
    });
    assert_eq!((rust, all), (0, 0), "{tokens}");
    let (_, rust, _) = allocations(|| std::hint::black_box(vec![tokens; 3]));
    assert_eq!(rust, 1, "the counter counts");
}
