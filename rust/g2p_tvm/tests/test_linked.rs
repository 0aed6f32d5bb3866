//! With TVM linked, whatever the archive.
#![cfg(g2p_tvm_linked)]

use std::path::Path;

use charsiug2p_g2p_tvm::{ensure_linked, TvmModule};
use charsiug2p_g2p_tvm::{
    Argument, DeviceConfig, Float16, Function, Tensor, TvmError, DEFAULT_ENTRY,
};

#[test]
fn the_linked_version_is_the_one_this_crate_knows() {
    ensure_linked().unwrap();
}

#[test]
fn a_prefix_without_a_model_is_named() {
    let module = TvmModule::from_system_lib("nobody_").unwrap();
    let error = module.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY).unwrap_err();
    assert_eq!(error, TvmError::NoModel { prefix: "nobody_".to_owned() });
}

#[test]
fn a_missing_file_and_a_missing_global_are_named() {
    let error = TvmModule::load(Path::new("/nowhere/model.so")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/model.so"), "{error}");
    let error = Function::global("harness.nothing").unwrap_err();
    assert_eq!(error, TvmError::NoGlobal { name: "harness.nothing".to_owned() });
}

#[test]
fn names_with_nul_are_refused() {
    let error = TvmModule::from_system_lib("a\0b").unwrap_err();
    assert_eq!(error, TvmError::NulInName("a\0b".to_owned()));
}

#[test]
fn too_many_arguments_are_refused() {
    let function = Function::global("ffi.SystemLib").unwrap();
    let arguments: Vec<_> = (0..17).map(Argument::Int).collect();
    let error = function.call(&arguments).unwrap_err();
    assert_eq!(error, TvmError::TooManyArguments { given: 17, max: 16 });
}

#[test]
fn tensors_are_zeroed_aligned_and_row_major() {
    let mut tensor = Tensor::zeros::<f32>(&[2, 3, 4]).unwrap();
    assert_eq!(tensor.shape(), [2, 3, 4]);
    assert_eq!(tensor.dtype(), "float32");
    assert_eq!(tensor.as_slice::<f32>().unwrap(), [0.0; 24]);
    assert_eq!(tensor.as_slice::<f32>().unwrap().as_ptr().addr() % 64, 0);
    for (value, slot) in (0_u8..).zip(tensor.as_mut_slice::<f32>().unwrap()) {
        *slot = f32::from(value);
    }
    assert_eq!(tensor.row::<f32>(&[1, 2]).unwrap(), [20.0, 21.0, 22.0, 23.0]);
    assert_eq!(tensor.row::<f32>(&[1]).unwrap().len(), 12);
    assert_eq!(tensor.row::<f32>(&[1, 0, 3]).unwrap(), [15.0]);
    assert_eq!(tensor.row::<f32>(&[]).unwrap().len(), 24);
}

#[test]
fn tensor_access_is_checked() {
    let mut tensor = Tensor::from_slice(&[2, 2], &[1_i32, 2, 3, 4]).unwrap();
    for index in [&[2][..], &[0, 2], &[0, 0, 0]] {
        let error = tensor.row::<i32>(index).unwrap_err();
        assert_eq!(error, TvmError::OutOfBounds { index: index.to_vec(), shape: vec![2, 2] });
    }
    let error = tensor.as_slice::<f32>().unwrap_err();
    assert_eq!(error.to_string(), "the tensor holds int32, not float32");
    assert!(matches!(tensor.write(&[1_i32]), Err(TvmError::Shape { .. })));
    assert!(matches!(Tensor::from_slice(&[3], &[1_i32]), Err(TvmError::Shape { .. })));
    assert!(tensor.expect_shape("x", &[2, 2]).is_ok());
    for shape in [&[2][..], &[2, 3], &[2, 2, 1]] {
        assert!(tensor.expect_shape("x", shape).is_err());
    }
    assert_eq!(tensor.as_slice::<i32>().unwrap(), [1, 2, 3, 4]);
}

#[test]
fn a_tensor_takes_every_shape_its_memory_holds() {
    let mut tensor = Tensor::from_slice(&[2, 3], &[1_i32, 2, 3, 4, 5, 6]).unwrap();
    for (shape, expected) in [
        (&[3, 2][..], &[1, 2, 3, 4, 5, 6][..]),
        (&[1, 4], &[1, 2, 3, 4]),
        (&[5, 0], &[]),
        (&[6, 1], &[1, 2, 3, 4, 5, 6]),
        (&[2, 2], &[1, 2, 3, 4]),
    ] {
        tensor.set_shape(shape).unwrap();
        assert_eq!(tensor.shape(), shape);
        assert_eq!(tensor.as_slice::<i32>().unwrap(), expected);
    }
    assert_eq!(tensor.row::<i32>(&[1]).unwrap(), [3, 4]);
    for shape in [&[7, 1][..], &[6], &[1, 2, 3], &[], &[usize::MAX, 2], &[usize::MAX, 0]] {
        let error = tensor.set_shape(shape).unwrap_err();
        let what = "the new shape of a tensor".to_owned();
        let (expected, found) = (vec![2, 2], shape.to_vec());
        assert_eq!(error, TvmError::Shape { what, expected, found });
    }
    assert_eq!(tensor.shape(), [2, 2]);
}

#[test]
fn halves_are_memory_of_two_bytes_each() {
    let tensor = Tensor::zeros::<Float16>(&[3, 5]).unwrap();
    assert_eq!(tensor.dtype(), "float16");
    assert_eq!(tensor.as_slice::<Float16>().unwrap(), [Float16(0); 15]);
    assert!(matches!(tensor.as_slice::<f32>(), Err(TvmError::Dtype { .. })));
    assert!(tensor.is_same(&tensor) && !tensor.is_shared());
}

#[test]
fn odd_shapes() {
    assert_eq!(Tensor::zeros::<f32>(&[]).unwrap().as_slice::<f32>().unwrap(), [0.0]);
    let empty = Tensor::zeros::<f32>(&[0, 3]).unwrap();
    assert!(empty.as_slice::<f32>().unwrap().is_empty());
    assert!(matches!(empty.row::<f32>(&[0]), Err(TvmError::OutOfBounds { .. })));
    for shape in [&[usize::MAX, 2][..], &[usize::MAX / 4], &[1 << 40, 1 << 20], &[0, usize::MAX]] {
        assert_eq!(Tensor::zeros::<f32>(shape).unwrap_err(), TvmError::TooLarge(shape.to_vec()),);
    }
}
