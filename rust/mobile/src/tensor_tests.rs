use proptest::prelude::*;

use super::*;

fn extent() -> impl Strategy<Value = Extent> {
    prop_oneof![
        (0_u64..5).prop_map(|size| Extent::Fixed { size }),
        "[ab]".prop_map(|name| Extent::Named { name }),
    ]
}

fn data_type() -> impl Strategy<Value = DataType> {
    prop::sample::select(DataType::ALL.to_vec())
}

prop_compose! {
    fn inputs()(
        found in prop::collection::vec((data_type(), prop::collection::vec(extent(), 0..4)), 0..4)
    ) -> Vec<InputInfo> {
        let named = found.into_iter().enumerate();
        named.map(|(at, (data_type, shape))| InputInfo { name: format!("i{at}"), data_type, shape }).collect()
    }
}

fn size(extent: &Extent, sizes: [u64; 2]) -> u64 {
    match extent {
        Extent::Fixed { size } => *size,
        Extent::Named { name } => sizes[usize::from(name == "b")],
    }
}

/// Tensors that the inputs take, with these sizes of the dimensions `a` and `b`.
fn fitting(inputs: &[InputInfo], sizes: [u64; 2]) -> Vec<NamedTensor> {
    let fit = |input: &InputInfo| {
        let shape: Vec<u64> = input.shape.iter().map(|extent| size(extent, sizes)).collect();
        let count = shape.iter().product::<u64>() as usize * input.data_type.element().size();
        NamedTensor {
            name: input.name.clone(),
            data_type: input.data_type,
            shape,
            data: vec![0; count],
        }
    };
    inputs.iter().map(fit).collect()
}

fn anything() -> impl Strategy<Value = NamedTensor> {
    let shape = prop::collection::vec(prop_oneof![0..5_u64, any::<u64>()], 0..5);
    ("i[0-4]", data_type(), shape, prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(name, data_type, shape, data)| NamedTensor { name, data_type, shape, data })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tensors_that_fit_are_taken_in_any_order(inputs in inputs(), a in 1_u64..5, b in 1_u64..5) {
        let mut given = fitting(&inputs, [a, b]);
        given.reverse();
        let found = in_order(&inputs, &given).unwrap();
        let names: Vec<&str> = found.iter().map(|tensor| tensor.name.as_str()).collect();
        prop_assert_eq!(names, inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>());
    }

    #[test]
    fn whatever_else_is_given_is_an_error_and_no_panic(
        inputs in inputs(), given in prop::collection::vec(anything(), 0..5)
    ) {
        match in_order(&inputs, &given) {
            Err(error) => prop_assert!((10..=13).contains(&error.code()), "{}", error),
            Ok(found) => {
                prop_assert_eq!(found.len(), inputs.len());
                for (input, tensor) in inputs.iter().zip(found) {
                    prop_assert_eq!(&input.name, &tensor.name);
                    prop_assert_eq!(input.data_type, tensor.data_type);
                    let count: u64 = tensor.shape.iter().product();
                    prop_assert_eq!(count as usize * tensor.data_type.element().size(), tensor.data.len());
                }
            }
        }
    }

    #[test]
    fn one_change_of_a_fitting_tensor_is_named(inputs in inputs(), at in 0_usize..4, change in 0_usize..4) {
        prop_assume!(at < inputs.len());
        let mut given = fitting(&inputs, [2, 3]);
        let tensor = &mut given[at];
        let code = match change {
            0 => { tensor.name.push('x'); 10 }
            1 => {
                tensor.data_type = if tensor.data_type == DataType::Bool { DataType::Int8 } else { DataType::Bool };
                11
            }
            2 => { tensor.shape.push(1); 12 }
            _ => { tensor.data.push(0); 13 }
        };
        prop_assert_eq!(in_order(&inputs, &given).unwrap_err().code(), code);
    }
}

#[test]
fn an_extent_of_one_name_has_one_size() {
    let input = |name: &str| InputInfo {
        name: name.to_owned(),
        data_type: DataType::Float32,
        shape: vec![Extent::Named { name: "rows".to_owned() }],
    };
    let inputs = [input("x"), input("y")];
    let x = NamedTensor::floats("x", &[2], &[1.0, 2.0]);
    assert!(in_order(&inputs, &[x.clone(), NamedTensor::floats("y", &[2], &[0.0; 2])]).is_ok());
    let error = in_order(&inputs, &[x, NamedTensor::floats("y", &[3], &[0.0; 3])]).unwrap_err();
    assert_eq!(error.to_string(), "the input \"y\" has the shape [3], the model takes [rows]");
    let empty = [NamedTensor::floats("x", &[0], &[]), NamedTensor::floats("y", &[0], &[])];
    assert_eq!(in_order(&inputs, &empty).unwrap_err().code(), 12);
}

#[test]
fn types_have_tvms_names_and_lead_back() {
    for one in DataType::ALL {
        assert_eq!(DataType::of(one.element()), Some(one));
        let read: DataType = serde_json::from_str(&format!("\"{one}\"")).unwrap();
        assert_eq!(read, one);
    }
}
