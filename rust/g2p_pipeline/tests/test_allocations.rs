//! No step of the greedy loop allocates: neither this workspace's code nor TVM's.
#![cfg(all(g2p_tvm_model, target_os = "linux", target_env = "gnu"))]

mod counting;

use charsiug2p_g2p_core::Language;
use charsiug2p_g2p_pipeline::{ArtifactResolver, ProbeOptions, Session, SystemLibMetadata};
use charsiug2p_g2p_tvm::DeviceConfig;

use counting::allocations;

/// A session that stops after so many steps.
fn session(metadata: &SystemLibMetadata, steps: usize) -> Session {
    let mut config = metadata.config.clone();
    config.max_output_len = steps.min(config.max_output_len);
    Session::load(config, &metadata.prefixes, DeviceConfig::cpu(), |_, _| {}).unwrap()
}

const WORDS: [&str; 4] = ["internationalization", "a", "Char", "siu"];

#[test]
fn the_number_of_steps_does_not_change_the_number_of_allocations() {
    let (_, rust, all) = allocations(|| std::hint::black_box(vec![1_u8; 100]));
    assert_eq!((rust, all), (1, 1), "what is counted");
    let (_, rust, all) = allocations(|| {
        std::thread::scope(|threads| {
            threads.spawn(|| {
                (0..1000).map(|_| std::hint::black_box(vec![1_u8; 100]).len()).sum::<usize>()
            });
        });
    });
    assert!(rust < 100 && all < 100, "another thread's {rust} and {all} are left out");

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
