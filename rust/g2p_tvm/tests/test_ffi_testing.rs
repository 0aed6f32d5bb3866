//! Values and errors through TVM's own test functions (`G2P_TVM_LINK_FFI_TESTING=1`).
#![cfg(g2p_tvm_ffi_testing)]

use charsiug2p_g2p_tvm::{Argument, Function, Tensor, TvmError, Value};

#[test]
fn values_come_back_as_they_went() {
    let echo = Function::global("testing.echo").unwrap();
    for int in [0, -1, i64::MAX, i64::MIN] {
        assert!(matches!(echo.call(&[Argument::Int(int)]), Ok(Value::Int(back)) if back == int));
    }
    for truth in [false, true] {
        let back = echo.call(&[Argument::Bool(truth)]);
        assert!(matches!(back, Ok(Value::Bool(back)) if back == truth));
    }
}

#[test]
fn a_result_that_is_the_argument_keeps_it_from_being_written() {
    let echo = Function::global("testing.echo").unwrap();
    let mut tensor = Tensor::from_slice(&[2], &[1.0_f32, 2.0]).unwrap();
    let same = echo.call_tensor(&[Argument::Tensor(&tensor)]).unwrap();
    assert_eq!(
        same.as_slice::<f32>().unwrap().as_ptr(),
        tensor.as_slice::<f32>().unwrap().as_ptr()
    );
    assert!(tensor.is_shared() && tensor.is_same(&same));
    assert_eq!(tensor.write(&[3.0_f32, 4.0]), Err(TvmError::Shared));
    assert_eq!(tensor.set_shape(&[1]), Err(TvmError::Shared));
    assert_eq!(same.as_slice::<f32>().unwrap(), [1.0, 2.0]);
    drop(same);
    assert!(!tensor.is_shared());
    tensor.write(&[3.0_f32, 4.0]).unwrap();
}

#[test]
fn results_of_another_type_are_named() {
    let echo = Function::global("testing.echo").unwrap();
    let error = echo.call_tensor(&[Argument::Int(5)]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("a tensor") && text.contains("the integer 5"), "{text}");
}

#[test]
fn errors_carry_kind_and_message() {
    let raise = Function::global("testing.test_raise_error").unwrap();
    let error = raise.call(&[Argument::Text("ValueError"), Argument::Text("grüße")]).unwrap_err();
    let TvmError::Raised { kind, message, .. } = &error else { panic!("{error:?}") };
    assert_eq!((kind.as_str(), message.as_str()), ("ValueError", "grüße"));
}
