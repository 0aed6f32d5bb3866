//! The linked smoke archive (`harness compile-smoke --prefix g2p_test_`), for real. All tests begin
//! with `system_lib_smoke`, so that runs with another archive leave them out by that name.

use charsiug2p_g2p_tvm::{Argument, DeviceConfig, Tensor, TvmModule, DEFAULT_ENTRY};

/// Listed as ignored, never as passed, when there is nothing linked to test.
#[test]
#[cfg_attr(
    not(g2p_tvm_smoke),
    ignore = "set G2P_TVM_SYSTEM_LIB (from `harness compile-smoke --prefix g2p_test_`), \
              G2P_TVM_SYSTEM_LIB_PREFIX=g2p_test_ and G2P_TVM_RUNTIME_LIB; see docs/rust.md"
)]
fn system_lib_smoke() {
    let module = TvmModule::from_system_lib("g2p_test_").unwrap();
    let main = module.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY).unwrap();
    let mut x = Tensor::from_slice(&[1], &[1.5_f32]).unwrap();
    let y = main.call_tensor(&[Argument::Tensor(&x)]).unwrap();
    assert_eq!(y.as_slice::<f32>().unwrap(), [2.5]);
    assert_eq!(y.shape(), [1]);
    // The virtual machine must not keep its arguments, or buffers could not be used again.
    x.write(&[-1.0_f32]).unwrap();
    let z = main.call_tensor(&[Argument::Tensor(&x)]).unwrap();
    assert_eq!(z.as_slice::<f32>().unwrap(), [0.0]);
    assert_eq!(y.as_slice::<f32>().unwrap(), [2.5], "results do not share memory");
}

#[test]
#[cfg_attr(not(g2p_tvm_smoke), ignore = "needs the smoke archive; see system_lib_smoke")]
fn system_lib_smoke_reports_wrong_arguments_with_tvms_message() {
    let module = TvmModule::from_system_lib("g2p_test_").unwrap();
    let main = module.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY).unwrap();
    let wrong_type = Tensor::from_slice(&[1], &[1_i32]).unwrap();
    let wrong_shape = Tensor::from_slice(&[2], &[1.0_f32, 2.0]).unwrap();
    for arguments in [
        &[Argument::Tensor(&wrong_type)][..],
        &[Argument::Tensor(&wrong_shape)],
        &[Argument::Int(1)],
        &[],
    ] {
        let error = main.call(arguments).unwrap_err();
        assert!(error.to_string().starts_with("calling g2p_test_main: TVM raised"), "{error}");
    }
}

#[test]
#[cfg_attr(not(g2p_tvm_smoke), ignore = "needs the smoke archive; see system_lib_smoke")]
fn system_lib_smoke_names_a_missing_entry() {
    let module = TvmModule::from_system_lib("g2p_test_").unwrap();
    let error = module.load_entry(DeviceConfig::cpu(), "other").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("other") && text.contains("g2p_test_"), "{text}");
}
