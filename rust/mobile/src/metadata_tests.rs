use proptest::prelude::*;
use serde_json::{json, Value};

use super::*;

fn two_models() -> Value {
    json!({
        "archive": "libmodels_system_lib.a", "prefix_base": "g2p_", "kind": "g2p", "target": "llvm",
        "prefixes": {"encoder": "g2p_encoder_", "decoder": "g2p_decoder_"}, "checkpoint": "embedded",
        "batch_size": 1, "max_input_bytes": 64, "max_output_len": 128, "use_kv_cache": false,
        "archive_sha256": "ab", "tvm_version": "0.27", "cpu_features": ["fma"], "languages": ["eng-us"],
        "models": [{
            "name": "flowers", "kind": "tensors", "prefix": "flowers_", "weights_bytes": 1, "weights_sha256": "cd",
            "inputs": [{"name": "x", "dtype": "float32", "shape": ["rows", 4]}],
            "outputs": [{"name": "y", "dtype": "float32"}]
        }]
    })
}

fn read(value: &Value) -> Result<Metadata, MobileError> {
    Metadata::read(&value.to_string())
}

#[test]
fn both_kinds_are_read() {
    let metadata = read(&two_models()).unwrap();
    let names: Vec<&str> = metadata.models.iter().map(|model| model.info.name.as_str()).collect();
    assert_eq!(names, [G2P, "flowers"]);
    let words = &metadata.model(G2P).unwrap().info;
    assert_eq!((words.kind, words.max_input_bytes), (ModelKind::Words, 64));
    assert_eq!(words.languages, ["eng-us"]);
    let flowers = &metadata.model("flowers").unwrap().info;
    let rows = Extent::Named { name: "rows".to_owned() };
    assert_eq!(flowers.inputs[0].shape, [rows, Extent::Fixed { size: 4 }]);
    assert_eq!(flowers.outputs, ["y"]);
    assert_eq!(metadata.versions.archive_sha256, "ab");
    assert_eq!(metadata.cpu_features, ["fma"]);
}

#[test]
fn tensors_alone_need_nothing_of_a_model_of_words() {
    let mut value = two_models();
    value["kind"] = "tensors".into();
    for key in ["prefixes", "checkpoint", "batch_size", "max_input_bytes", "use_kv_cache"] {
        value.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(read(&value).unwrap().models.len(), 1);
}

#[test]
fn what_cannot_be_used_is_named() {
    let changed = |pointer: &str, to: Value| {
        let mut value = two_models();
        *value.pointer_mut(pointer).unwrap() = to;
        read(&value).unwrap_err()
    };
    for (pointer, to, reason) in [
        ("/archive_sha256", json!(3), "expected a string"),
        ("/batch_size", json!(0), "batch_size must be at least 1"),
        ("/max_output_len", json!(1_u64 << 40), "is more than"),
        ("/prefixes", json!({"encoder": "g2p_encoder_"}), "the prefixes lack \"decoder\""),
        ("/models/0/inputs/0/dtype", json!("complex64"), "unknown variant"),
        ("/models/0/inputs/0/shape/0", json!(-1), "did not match"),
        ("/models/0/name", json!("g2p"), "two models \"g2p\""),
        ("/kind", json!("pictures"), "unknown variant"),
    ] {
        let error = changed(pointer, to);
        assert_eq!(error.code(), 2);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let mut value = two_models();
    value["kind"] = "tensors".into();
    value["models"] = json!([]);
    assert!(read(&value).unwrap_err().to_string().contains("names no model"));
    for text in ["", "{", "[]", "null"] {
        assert_eq!(Metadata::read(text).unwrap_err().code(), 2);
    }
    let error = read(&two_models()).unwrap().model("Flowers").unwrap_err();
    assert_eq!(error.to_string(), "there is no model \"Flowers\"; the library holds g2p, flowers");
}

/// Any JSON of a few levels, with the keys of the metadata among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof!["[a-z_]{1,8}", Just("name".to_owned()), Just("shape".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        prop_assert_eq!(Metadata::read(&text).unwrap_err().code(), 2);
    }

    #[test]
    fn any_value_of_a_key_is_read_or_refused(at in 0_usize..32, to in any_json()) {
        let mut value = two_models();
        let keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        value[&keys[at % keys.len()]] = to;
        if let Err(error) = read(&value) {
            prop_assert_eq!(error.code(), 2);
        }
    }
}
