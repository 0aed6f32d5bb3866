#![doc = include_str!("../README.md")]
// The README shows a whole build script.
#![allow(clippy::needless_doctest_main)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;

/// Prints cargo's directives for run paths and for two cfgs: `g2p_tvm_linked` is set where TVM is linked, and
/// `g2p_tvm_model` where a model is linked that is not the smoke archive.
///
/// Call it from the build script of a package that depends on `charsiug2p-g2p-tvm` directly. Cargo shows the results
/// of that crate's build script to no other packages, and without them this function prints the names of the cfgs
/// alone.
pub fn forward_tvm_link() {
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_linked)");
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_model)");
    for path in env::split_paths(&env::var_os("DEP_G2P_TVM_RPATHS").unwrap_or_default()) {
        if !path.as_os_str().is_empty() {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", path.display());
        }
    }
    if env::var_os("DEP_G2P_TVM_LINKED").is_some() {
        println!("cargo:rustc-cfg=g2p_tvm_linked");
    }
    if env::var_os("DEP_G2P_TVM_ARCHIVE").is_some_and(|kind| kind == "model") {
        println!("cargo:rustc-cfg=g2p_tvm_model");
    }
}
