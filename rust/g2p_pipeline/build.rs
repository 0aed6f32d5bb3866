//! Passes on how TVM is linked, and whether there are expected answers to test the model with.

use charsiug2p_g2p_tvm_build::forward_tvm_link;

/// Path of the reference's answers, for `tests/test_model.rs` (docs/rust.md).
const EXPECTED: &str = "G2P_TEST_EXPECTED";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={EXPECTED}");
    println!("cargo:rustc-check-cfg=cfg(g2p_test_expected)");
    forward_tvm_link();
    if std::env::var_os(EXPECTED).is_some_and(|path| !path.is_empty()) {
        println!("cargo:rustc-cfg=g2p_test_expected");
    }
}
