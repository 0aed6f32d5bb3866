//! No step of a language model allocates: neither this workspace's code nor TVM's.
#![cfg(all(test_models, target_os = "linux", target_env = "gnu"))]

#[path = "../../g2p_pipeline/tests/counting/mod.rs"]
mod counting;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use charsiug2p_language::{
    generate, Choice, Decoder, Ended, Listener, Model, Plan, Sizes, WithCache,
};
use charsiug2p_workload::{Sampler, SamplingOptions};
use serde_json::Value;

use counting::allocations;

struct Deaf;

impl Listener for Deaf {
    fn token(&mut self, _token: i32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// The archive's language model.
fn decoder() -> Decoder {
    let text = include_str!(concat!(env!("OUT_DIR"), "/metadata.json"));
    let metadata: Value = serde_json::from_str(text).unwrap();
    let models = metadata["models"].as_array().unwrap();
    let model = models.iter().find(|one| one["kind"] == "language").unwrap();
    let size = |name: &str| usize::try_from(model[name].as_u64().unwrap()).unwrap();
    let sizes = Sizes {
        vocab_size: size("vocab_size"),
        capacity: size("capacity"),
        block: size("block"),
        cache_shape: serde_json::from_value(model["cache_shape"].clone()).unwrap(),
        cache_dtype: serde_json::from_value(model["cache_dtype"].clone()).unwrap(),
    };
    let prefixes: BTreeMap<String, String> =
        serde_json::from_value(model["prefixes"].clone()).unwrap();
    Decoder::load(&prefixes, sizes, &mut |_, _| {}).unwrap()
}

#[test]
fn the_number_of_steps_does_not_change_the_number_of_allocations() {
    let mut decoder = decoder();
    let vocabulary = decoder.sizes().vocab_size;
    let mut cache = decoder.cache().unwrap();
    let options = SamplingOptions { top_k: 9, top_p: 0.9, ..SamplingOptions::default() };
    let mut sampler = Sampler::new(options, vocabulary).unwrap();
    for greedy in [true, false] {
        let mut seen = Vec::new();
        for most in [1, 1, 1, 2, 5, 20, 60] {
            cache.keep(0);
            let mut text: Vec<i32> = (0..9).collect();
            let plan = Plan { most, stop_tokens: &[] };
            let mut choice = if greedy { Choice::Best } else { Choice::Drawn(&mut sampler) };
            let mut model = WithCache::new(&mut decoder, &mut cache).unwrap();
            let run = || generate(&mut model, &mut text, &plan, &mut choice, &mut Deaf);
            let (ended, rust, all) = allocations(run);
            assert_eq!(ended.unwrap(), Ended::Length);
            assert_eq!((text.len(), model.filled()), (9 + most, 8 + most));
            seen.push((most, rust, all));
        }
        println!("steps, Rust's allocations, all allocations: {seen:?}");
        // The first calls fill TVM's pools.
        let (_, rust, all) = seen[2];
        assert!(seen[2..].iter().all(|&(_, one, of_all)| (one, of_all) == (rust, all)), "{seen:?}");
    }
}
