//! Prefixes from metadata and from a base.

use std::collections::BTreeMap;

use charsiug2p_g2p_tvm::{SystemLibPrefixes, TvmError};

fn map(functions: &[&str]) -> BTreeMap<String, String> {
    functions.iter().map(|name| ((*name).to_owned(), format!("g2p_{name}_"))).collect()
}

#[test]
fn with_the_cache_no_decoder_is_demanded() {
    let names = ["encoder", "decoder_prefill", "decoder_step"];
    let prefixes = SystemLibPrefixes::from_map(&map(&names), true).unwrap();
    assert_eq!(prefixes, SystemLibPrefixes::from_base("g2p_", true));
    let functions: Vec<_> = prefixes.functions().into_iter().map(|(name, _)| name).collect();
    assert_eq!(functions, names);
}

#[test]
fn without_the_cache_only_encoder_and_decoder_are() {
    let prefixes = SystemLibPrefixes::from_map(&map(&["encoder", "decoder"]), false).unwrap();
    assert_eq!(prefixes, SystemLibPrefixes::from_base("g2p_", false));
    assert_eq!(prefixes.functions(), [("encoder", "g2p_encoder_"), ("decoder", "g2p_decoder_")]);
}

#[test]
fn a_missing_function_is_named_beside_those_that_are_there() {
    let error = SystemLibPrefixes::from_map(&map(&["encoder", "decoder"]), true).unwrap_err();
    let named = vec!["decoder".to_owned(), "encoder".to_owned()];
    assert_eq!(error, TvmError::NoPrefix { missing: "decoder_prefill", named });
}
