//! Orders of models of tensors.

use serde_json::{json, Value};

use crate::{describe, Scene};

/// A valid order for a model of tensors, alone; the blob holds `x`, a float32 of shape [1].
fn tensor_order() -> Value {
    json!({
        "order_id": "order-1", "archive_sha256": describe()["archive_sha256"],
        "workloads": [{
            "kind": "tensor", "name": "m", "functions": {"main": "none_m_"},
            "inputs": ["x"], "outputs": ["y"]
        }],
        "items": [{"id": "i1", "workload": "m", "input": {
            "size": 68,
            "sha256": "f685641b3f43cdb3e64a5f9afdf6191cfad4803bfbb3c5d218730573095c2af6",
            "data": "OAAAAAAAAAB7IngiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOlswLDRdfX0gIAAAwD8=",
        }}]
    })
}

/// Scene, the place that is changed, its new value, the message, and the item that it names.
type Fault = (&'static str, &'static str, &'static str, &'static str, Option<&'static str>);

const TENSOR_FAULTS: &[Fault] = &[
    ("no-prefix", "/workloads/0/functions/main", r#""""#, "the prefix is empty", None),
    (
        "other-function",
        "/workloads/0/functions",
        r#"{"a": "a_"}"#,
        "the one function \"main\"",
        None,
    ),
    ("a-prompt", "/items/0/input", r#""word""#, "takes tensors, not a prompt", Some("i1")),
    ("no-outputs", "/workloads/0/outputs", "[]", "it has no outputs", None),
    ("no-models", "/workloads", "[]", "names no workloads", None),
    ("other-model", "/items/0/workload", r#""n""#, "no workload \"n\"", Some("i1")),
    ("no-id", "/items/0/id", r#""""#, "its id is empty", Some("")),
    ("other-input", "/workloads/0/inputs", r#"["z"]"#, "the model takes [\"z\"]", Some("i1")),
    ("torn", "/items/0/input/size", "69", "68 bytes arrived of 69", Some("i1")),
    ("changed", "/items/0/input/sha256", r#""00""#, "not those that were sent", Some("i1")),
    ("no-base64", "/items/0/input/data", r#""?""#, "no base64", None),
    (
        "twice",
        "/workloads",
        r#"[{"kind": "tensor", "name": "m", "functions": {"main": "a_"}, "inputs": ["x"], "outputs": ["y"]},
            {"kind": "tensor", "name": "m", "functions": {"main": "b_"}, "inputs": ["x"], "outputs": ["y"]}]"#,
        "named twice",
        None,
    ),
];

#[test]
fn orders_of_tensors_that_cannot_be_are_refused_before_anything_is_loaded() {
    for (test, pointer, value, expected, item) in TENSOR_FAULTS {
        let mut order = tensor_order();
        *order.pointer_mut(pointer).unwrap() = serde_json::from_str(value).unwrap();
        let end = Scene::new(test).refused(order.to_string());
        assert_eq!(end["error"]["kind"], "usage", "{end}");
        let message = end["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        assert_eq!(end["error"]["item"].as_str(), *item);
    }
}
