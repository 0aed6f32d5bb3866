//! Without TVM linked: every entry point returns an error with the variables to set.
#![cfg(not(g2p_tvm_linked))]

use std::path::Path;

use charsiug2p_g2p_tvm::{ensure_linked, Function, Tensor, TvmError, TvmModule};

#[test]
fn every_entry_point_names_the_missing_variables() {
    let errors = [
        ensure_linked().unwrap_err(),
        TvmModule::from_system_lib("g2p_test_").unwrap_err(),
        TvmModule::load(Path::new("model.so")).unwrap_err(),
        Function::global("ffi.SystemLib").unwrap_err(),
        Tensor::zeros::<f32>(&[1]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error, TvmError::NotLinked);
    }
    let text = TvmError::NotLinked.to_string();
    for name in ["G2P_TVM_RUNTIME_LIB", "G2P_TVM_SYSTEM_LIB", "G2P_TVM_STATIC_LINK"] {
        assert!(text.contains(name), "{text}");
    }
}
