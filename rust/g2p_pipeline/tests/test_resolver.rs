//! Metadata found, missing, broken; with and without the cache.

use std::fs;
use std::path::{Path, PathBuf};

use charsiug2p_g2p_pipeline::{
    ArtifactResolver, CacheDtype, ConfigError, Precision, ResolveError, SystemLibMetadata,
    METADATA_FILE,
};
use charsiug2p_g2p_tvm::SystemLibPrefixes;

/// The schema as the original project wrote it: no key of ours.
const ORIGINAL: &str = r#"{"archive": "libg2p_system_lib.a", "prefix_base": "g2p_",
 "prefixes": {"encoder": "g2p_encoder_", "decoder": "g2p_decoder_"},
 "checkpoint": "charsiu/g2p_multilingual_byT5_tiny_8_layers_100",
 "batch_size": 1, "max_input_bytes": 64, "max_output_len": 128,
 "target": "llvm", "output_ext": "so", "use_kv_cache": false}"#;

const CACHED: &str = r#"{"archive": "libg2p_system_lib.a", "prefix_base": "x_",
 "prefixes": {"encoder": "x_encoder_", "decoder_prefill": "x_decoder_prefill_",
              "decoder_step": "x_decoder_step_"},
 "checkpoint": "embedded", "batch_size": 2, "max_input_bytes": 32, "max_output_len": 16,
 "target": "llvm", "output_ext": "so", "use_kv_cache": true, "schema_version": 1,
 "vocab_size": 300, "decoder_start_token_id": 5, "eos_token_id": 6,
 "self_cache_shape": [2, 3, 16], "self_cache_dtype": "float16", "precision": "int8", "prompt_space": false, "languages": ["ger"],
 "something_from_the_future": {"a": [1]}}"#;

fn folder(test: &str, content: Option<&str>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("resolver").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    if let Some(content) = content {
        fs::write(folder.join(METADATA_FILE), content).unwrap();
    }
    folder
}

#[test]
fn the_original_schema_is_enough() {
    let resolver = ArtifactResolver::with_paths([folder("original", Some(ORIGINAL))]);
    let prefixes = resolver.resolve_system_lib_prefixes().unwrap();
    assert_eq!(prefixes, SystemLibPrefixes::from_base("g2p_", false));
    let metadata = resolver.resolve().unwrap().metadata;
    let config = &metadata.config;
    assert_eq!(config.check(), Ok(()));
    assert_eq!(
        (config.vocab_size, config.decoder_start_token_id, config.eos_token_id),
        (384, 0, 1)
    );
    assert!(metadata.prompt_format().space && metadata.languages.is_none());
    assert_eq!(config.self_cache_dtype, CacheDtype::Float32);
    assert_eq!(config.precision, Precision::Fp32);
}

#[test]
fn a_cached_model_needs_no_decoder_and_extra_keys_are_ignored() {
    let resolver = ArtifactResolver::with_paths([folder("cached", Some(CACHED))]);
    let prefixes = resolver.resolve_system_lib_prefixes().unwrap();
    assert_eq!(prefixes, SystemLibPrefixes::from_base("x_", true));
    let metadata = resolver.resolve().unwrap().metadata;
    let config = &metadata.config;
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.self_cache_dtype, CacheDtype::Float16);
    assert_eq!(config.precision, Precision::Int8);
    assert_eq!(
        (config.vocab_size, config.decoder_start_token_id, config.eos_token_id),
        (300, 5, 6)
    );
    assert_eq!(metadata.prompt_format().max_input_bytes, 32);
    assert!(!metadata.prompt_format().space);
}

#[test]
fn the_first_place_that_has_the_file_wins() {
    let (empty, full) = (folder("empty", None), folder("full", Some(ORIGINAL)));
    let file = full.join(METADATA_FILE);
    for places in [[empty.clone(), full.clone()], [file.clone(), empty]] {
        assert_eq!(ArtifactResolver::with_paths(places).resolve().unwrap().path, file);
    }
}

#[test]
fn nothing_found_lists_every_path_tried() {
    let places = [folder("nothing-1", None), folder("nothing-2", None)];
    let error = ArtifactResolver::with_paths(&places).resolve().unwrap_err();
    let text = error.to_string();
    for place in &places {
        assert!(text.contains(place.join(METADATA_FILE).to_str().unwrap()), "{text}");
    }
    assert!(matches!(error, ResolveError::NotFound { tried } if tried.len() == 2));
}

#[test]
fn a_broken_file_is_an_error_and_not_passed_over() {
    let good = folder("good", Some(ORIGINAL));
    let truncated = &ORIGINAL[..ORIGINAL.len() / 2];
    for (test, content) in [("truncated", truncated), ("empty-file", ""), ("list", "[]")] {
        let places = [folder(test, Some(content)), good.clone()];
        let error = ArtifactResolver::with_paths(&places).resolve().unwrap_err();
        assert!(matches!(error, ResolveError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(test), "{error}");
    }
}

#[test]
fn a_missing_prefix_is_named() {
    let place = folder("no-step", Some(&CACHED.replace("decoder_step\"", "other\"")));
    let error = ArtifactResolver::with_paths([place]).resolve_system_lib_prefixes().unwrap_err();
    assert!(matches!(error, ResolveError::Prefixes { .. }));
    assert!(error.to_string().contains("decoder_step"), "{error}");
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let config = |from: &str, to: &str| {
        assert!(CACHED.contains(from));
        let metadata: SystemLibMetadata = serde_json::from_str(&CACHED.replace(from, to)).unwrap();
        metadata.config.check()
    };
    assert!(config("\"batch_size\": 2", "\"batch_size\": 2").is_ok());
    for to in ["[1, 3, 16]", "[3, 2, 2]", "[2, 0, 16]", "[]", "[2, 99999, 99999]"] {
        let error = config("[2, 3, 16]", to).unwrap_err();
        assert_eq!(matches!(error, ConfigError::TooLarge { .. }), to.contains("99999"), "{to}");
        assert_eq!(matches!(error, ConfigError::CacheShape { .. }), !to.contains("99999"), "{to}");
    }
    assert!(config("[2, 3, 16]", "[2]").is_ok(), "its other extents are the compiler's business");
    assert_eq!(config("[2, 3, 16]", "null"), Err(ConfigError::NoCacheShape));
    assert_eq!(
        config("\"vocab_size\": 300", "\"vocab_size\": 0"),
        Err(ConfigError::Zero("vocab_size"))
    );
    for (from, to) in
        [("\"eos_token_id\": 6", "\"eos_token_id\": 300"), ("_token_id\": 5", "_token_id\": -1")]
    {
        assert!(matches!(config(from, to), Err(ConfigError::TokenId { .. })), "{to}");
    }
}
