//! Runs of the model that is linked in.

use std::fs;

use serde_json::{json, Value};

use crate::{order, Scene};

/// An order for the linked model, from the metadata beside its archive.
fn real_order() -> Value {
    let folder = charsiug2p_g2p_tvm::compiled_system_lib_dir().unwrap();
    let metadata = fs::read_to_string(folder.join("system_lib_metadata.json")).unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let mut model = json!({
        "kind": "generation", "name": "g2p", "functions": metadata["prefixes"].clone()
    });
    for key in [
        "use_kv_cache",
        "batch_size",
        "max_input_bytes",
        "max_output_len",
        "vocab_size",
        "decoder_start_token_id",
        "eos_token_id",
        "self_cache_shape",
        "self_cache_dtype",
        "precision",
    ] {
        model[key] = metadata[key].clone();
    }
    if !model["use_kv_cache"].as_bool().unwrap() {
        // Without a cache nothing fixes the length, and short outputs make a quick test.
        model["max_output_len"] = json!(8);
    }
    let mut order = order();
    order["workloads"] = json!([model]);
    order["items"] = (0..3)
        .map(|at| json!({"id": format!("i{at}"), "workload": "g2p", "input": "<eng-us>: ab"}))
        .collect();
    order["warmup"] = json!(2);
    order["repetitions"] = json!(2);
    order["probe"] = json!({"margins": true, "logit_steps": [0]});
    order
}

#[test]
fn a_real_run_has_every_record_in_order() {
    let scene = Scene::new("real");
    let order = real_order();
    fs::write(&scene.order, order.to_string()).unwrap();
    let output = scene.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = scene.records();
    let kinds: Vec<_> = records.iter().map(|record| record["record"].as_str().unwrap()).collect();
    let model = &order["workloads"][0];
    let functions = model["functions"].as_object().unwrap().len();
    let batch_size = usize::try_from(model["batch_size"].as_u64().unwrap()).unwrap();
    let batches = 3_usize.div_ceil(batch_size);
    let mut expected = vec!["header"];
    expected.extend(vec!["load"; functions]);
    expected.extend(vec!["sample"; 4 * batches]);
    expected.push("memory");
    expected.extend(vec!["probe"; batches]);
    expected.push("end");
    assert_eq!(kinds, expected);

    let header = &records[0];
    assert_eq!((&header["order_id"], &header["threads"]), (&json!("order-1"), &json!(1)));
    let samples: Vec<_> = records.iter().filter(|record| record["record"] == "sample").collect();
    let phases: Vec<_> = samples
        .iter()
        .map(|sample| (sample["phase"].as_str().unwrap(), sample["repetition"].as_u64().unwrap()))
        .collect();
    let mut expected = vec![("warmup", 0); batches];
    expected[0] = ("first", 0);
    expected.extend(vec![("warmup", 1); batches]);
    expected.extend(vec![("timed", 0); batches]);
    expected.extend(vec![("timed", 1); batches]);
    assert_eq!(phases, expected);

    let first = &samples[0]["outputs"][0];
    for sample in &samples {
        let items = sample["items"].as_array().unwrap().len();
        assert_eq!(sample["outputs"].as_array().unwrap().len(), items);
        assert_eq!(&sample["outputs"][0], first, "the same word, the same answer");
        let parts = &sample["parts"];
        assert!(sample["total_ns"].as_u64() > parts["encoder"][0].as_u64());
        assert_eq!(parts["prefill"].is_null(), !model["use_kv_cache"].as_bool().unwrap());
        assert!(sample["outputs"][0]["margins"].is_null());
    }
    let ids = first["token_ids"].as_array().unwrap().len();
    assert_eq!(samples[0]["parts"]["step"].as_array().unwrap().len(), ids);
    let probe = &records[records.len() - 2]["outputs"][0];
    assert_eq!(&probe["token_ids"], &first["token_ids"]);
    assert_eq!(probe["margins"].as_array().unwrap().len(), ids);
    assert_eq!(
        probe["logits"]["0"].as_array().unwrap().len(),
        usize::try_from(model["vocab_size"].as_u64().unwrap()).unwrap()
    );
    assert!(records[1 + functions + 4 * batches]["peak_bytes"].as_u64().is_some_and(|b| b > 0));
    let end = records.last().unwrap();
    assert_eq!((&end["status"], &end["samples"]), (&json!("ok"), &json!(4 * batches)));
    assert!(end["error"].is_null());
}

#[test]
fn a_run_that_was_slowed_on_purpose_records_it_and_answers_the_same() {
    let outputs = |name: &str, percent: Option<u32>| {
        let scene = Scene::new(name);
        let mut order = real_order();
        if let Some(percent) = percent {
            order["slowdown_percent"] = json!(percent);
        }
        fs::write(&scene.order, order.to_string()).unwrap();
        assert!(scene.run().status.success());
        let records = scene.records();
        let expected = percent.map_or(Value::Null, |percent| json!(f64::from(percent)));
        assert_eq!(records[0]["slowdown_percent"], expected);
        let samples = records.iter().filter(|record| record["record"] == "sample");
        samples.map(|sample| sample["outputs"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(outputs("slowed", Some(100)), outputs("not-slowed", None));
}

#[test]
fn no_repetitions_leave_only_the_probe() {
    let scene = Scene::new("probe-only");
    let mut order = real_order();
    order["warmup"] = json!(0);
    order["repetitions"] = json!(0);
    fs::write(&scene.order, order.to_string()).unwrap();
    assert!(scene.run().status.success());
    let records = scene.records();
    assert!(records.iter().any(|record| record["record"] == "probe"));
    assert!(!records.iter().any(|record| record["record"] == "sample"));
}

/// The order lies about the vocabulary: an error of the model, not a panic or a wrong answer.
#[test]
fn a_model_of_other_sizes_is_a_record_that_names_the_item() {
    let scene = Scene::new("sizes");
    let mut order = real_order();
    let vocab = order["workloads"][0]["vocab_size"].as_u64().unwrap();
    order["workloads"][0]["vocab_size"] = json!(vocab - 1);
    fs::write(&scene.order, order.to_string()).unwrap();
    assert_eq!(scene.run().status.code(), Some(1));
    let records = scene.records();
    let end = records.last().unwrap();
    assert_eq!(end["error"]["kind"], "model");
    assert!(end["error"]["item"].as_str().is_some() || order["workloads"][0]["batch_size"] != 1);
    // The kernel's words or the virtual machine's with a cache, ours without.
    let message = end["error"]["message"].as_str().unwrap();
    assert!(message.contains("mismatch") || message.contains("shape"), "{end}");
}
