//! The runner as the harness runs it: orders in, records out, exit status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{json, Value};

#[cfg(g2p_tvm_model)]
mod real;
mod tensors;

/// A folder of the test's own with the files of one run.
struct Scene {
    order: PathBuf,
    result: PathBuf,
}

impl Scene {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runner").join(test);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self { order: folder.join("order.json"), result: folder.join("result.jsonl") }
    }

    fn run(&self) -> Output {
        let [order, result] = [&self.order, &self.result].map(|path| path.to_str().unwrap());
        runner(&["--order", order, "--result", result])
    }

    fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.result).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs an order that must be refused; its error.
    fn refused(&self, order: impl AsRef<[u8]>) -> Value {
        fs::write(&self.order, order).unwrap();
        let output = self.run();
        assert_eq!(output.status.code(), Some(1));
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:?}");
        let end = &records[0];
        assert_eq!((&end["record"], &end["status"]), (&json!("end"), &json!("error")));
        assert_eq!(end["samples"], 0);
        let message = end["error"]["message"].as_str().unwrap();
        assert!(String::from_utf8(output.stderr).unwrap().contains(message));
        end.clone()
    }
}

fn runner(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_device_runner")).args(arguments).output().unwrap()
}

fn describe() -> Value {
    let output = runner(&["--describe"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    serde_json::from_str(&text).unwrap()
}

/// A valid order for a cached model of no particular size.
fn order() -> Value {
    json!({
        "schema_version": 2,
        "order_id": "order-1",
        "archive_sha256": describe()["archive_sha256"],
        "workloads": [{
            "name": "g2p", "kind": "generation", "use_kv_cache": true,
            "functions": {"encoder": "none_e_", "decoder_prefill": "none_p_", "decoder_step": "none_s_"},
            "batch_size": 2, "max_input_bytes": 20, "max_output_len": 8, "vocab_size": 384,
            "decoder_start_token_id": 0, "eos_token_id": 1,
            "self_cache_shape": [2, 8, 16], "self_cache_dtype": "float16", "precision": "fp16"
        }],
        "items": [{
            "id": "i1", "workload": "g2p", "input": "<eng-us>: Char",
            "label": "Char", "subset": "eng-us"
        }],
        "warmup": 1, "repetitions": 2, "threads": 1, "probe": null,
        "skip_samples": 0, "skip_probes": 0, "slowdown_percent": 0
    })
}

/// The valid order with one value replaced, refused as `usage`; its message and item.
fn refused_with(test: &str, pointer: &str, value: Value) -> (String, Value) {
    let mut order = order();
    *order.pointer_mut(pointer).unwrap() = value;
    let end = Scene::new(test).refused(order.to_string());
    assert_eq!(end["error"]["kind"], "usage", "{end}");
    (end["error"]["message"].as_str().unwrap().to_owned(), end["error"]["item"].clone())
}

#[test]
fn describe_is_one_line_of_json() {
    let description = describe();
    let keys: Vec<_> = description.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["arch", "archive_sha256", "cpu_features", "os", "prefixes", "runner_version"]
    );
    assert_eq!(description["runner_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(description["arch"], std::env::consts::ARCH);
}

#[test]
fn a_wrong_command_line_is_status_2() {
    for arguments in [
        &[][..],
        &["--order", "o.json"],
        &["--result", "r.jsonl"],
        &["--describe", "--order", "o.json", "--result", "r.jsonl"],
        &["--describe", "--stream"],
        &["--what"],
    ] {
        assert_eq!(runner(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn an_unwritable_or_existing_result_is_status_2_and_left_alone() {
    let mut scene = Scene::new("existing");
    fs::write(&scene.order, order().to_string()).unwrap();
    fs::write(&scene.result, "precious").unwrap();
    assert_eq!(scene.run().status.code(), Some(2));
    assert_eq!(fs::read_to_string(&scene.result).unwrap(), "precious");
    scene.result = scene.result.with_file_name("no-such-folder").join("result.jsonl");
    let output = scene.run();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no-such-folder"));
}

#[test]
fn an_order_that_cannot_be_read_is_an_io_record() {
    let scene = Scene::new("no-order");
    assert_eq!(scene.run().status.code(), Some(1));
    let records = scene.records();
    assert_eq!(records[0]["error"]["kind"], "io");
    assert!(records[0]["error"]["message"].as_str().unwrap().contains("order.json"));
    assert_eq!(records[0]["order_id"], "");
}

#[test]
fn orders_that_are_no_orders_are_refused() {
    let truncated = &order().to_string()[..100];
    for (at, bytes) in [&b""[..], b"{", b"[]", b"\xff\xfe", truncated.as_bytes()].iter().enumerate()
    {
        let end = Scene::new(&format!("garbage-{at}")).refused(bytes);
        assert_eq!(end["error"]["kind"], "usage");
        assert_eq!(end["order_id"], "");
    }
}

#[test]
fn unknown_and_missing_fields_are_refused_under_the_orders_own_id() {
    let mut order = order();
    order["surprise"] = json!(1);
    let end = Scene::new("unknown-field").refused(order.to_string());
    assert_eq!((&end["order_id"], &end["error"]["kind"]), (&json!("order-1"), &json!("usage")));
    assert!(end["error"]["message"].as_str().unwrap().contains("surprise"));
    // An order holds whole prompts, so it has no fields for the metadata about them.
    for (pointer, key) in
        [("/workloads/0", "surprise"), ("/workloads/0", "prompt_space"), ("/items/0", "surprise")]
    {
        let mut order = self::order();
        order.pointer_mut(pointer).unwrap()[key] = json!(true);
        let end = Scene::new("unknown-field").refused(order.to_string());
        let message = end["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("unknown field `{key}`")), "{message}");
    }
    let mut order = self::order();
    order.as_object_mut().unwrap().remove("items");
    Scene::new("missing-field").refused(order.to_string());
}

#[test]
fn another_schema_or_archive_is_refused() {
    let (message, _) = refused_with("schema", "/schema_version", json!(3));
    assert!(message.contains("schema_version 3"), "{message}");
    // What an older harness sends has other fields, too.
    let old = json!({"schema_version": 1, "order_id": "order-1", "models": [], "items": []});
    let end = Scene::new("older-schema").refused(old.to_string());
    let message = end["error"]["message"].as_str().unwrap();
    assert!(message.contains("schema_version 1 is not 2"), "{message}");
    let (message, _) = refused_with("archive", "/archive_sha256", json!("ab".repeat(32)));
    assert!(message.contains(&"ab".repeat(32)), "{message}");
}

#[test]
fn impossible_numbers_are_refused() {
    for (pointer, value) in [
        ("/threads", json!(0)),
        ("/warmup", json!(-1)),
        ("/repetitions", json!(1.5)),
        ("/workloads/0/batch_size", json!(0)),
        ("/workloads/0/max_output_len", json!(0)),
        ("/workloads/0/vocab_size", json!(0)),
        ("/workloads/0/eos_token_id", json!(384)),
        ("/workloads/0/self_cache_shape", json!(null)),
        ("/workloads/0/self_cache_shape", json!([3, 8, 16])),
        ("/workloads/0/self_cache_shape", json!([2, 4_000_000_000_000_u64, 8, 16])),
        ("/workloads/0/self_cache_dtype", json!("float64")),
        ("/workloads/0/precision", json!("fp8")),
        ("/workloads/0/max_output_len", json!(4_000_000_000_000_u64)),
        ("/workloads/0/max_input_bytes", json!(4_000_000_000_000_u64)),
        ("/workloads/0/kind", json!("vision")),
        ("/order_id", json!("")),
        ("/skip_samples", json!(-1)),
        ("/slowdown_percent", json!(-5)),
        ("/slowdown_percent", json!(1001)),
        ("/slowdown_percent", json!("10")),
        ("/slowdown_percent", json!(null)),
        ("/repetitions", json!(true)),
        ("/repetitions", json!("10")),
        ("/warmup", json!(1e30)),
        ("/threads", json!(null)),
        ("/workloads/0/vocab_size", json!("384")),
        ("/workloads/0/eos_token_id", json!(-1)),
    ] {
        refused_with("numbers", pointer, value);
    }
}

#[test]
fn more_than_there_is_cannot_be_skipped() {
    let (message, _) = refused_with("skip-samples", "/skip_samples", json!(4));
    assert!(message.contains("the order has 3 samples"), "{message}");
    let (message, _) = refused_with("skip-probes", "/skip_probes", json!(1));
    assert!(message.contains("the order has 0 probes"), "{message}");
    let mut order = order();
    order["probe"] = json!({});
    order["skip_probes"] = json!(1);
    let end = Scene::new("probes-before-samples").refused(order.to_string());
    assert!(end["error"]["message"].as_str().unwrap().contains("every sample"), "{end}");
}

#[test]
fn records_are_streamed_as_they_are_in_the_file() {
    let scene = Scene::new("stream");
    fs::write(&scene.order, order().to_string()).unwrap();
    let [order, result] = [&scene.order, &scene.result].map(|path| path.to_str().unwrap());
    let output = runner(&["--order", order, "--result", result, "--stream"]);
    assert!(!output.stdout.is_empty());
    assert_eq!(output.stdout, fs::read(&scene.result).unwrap());
}

#[test]
fn models_are_checked() {
    let (message, _) = refused_with("no-models", "/workloads", json!([]));
    assert!(message.contains("no workloads"), "{message}");
    let model = order()["workloads"][0].clone();
    let (message, _) = refused_with("twice", "/workloads", json!([model, model]));
    assert!(message.contains("named twice"), "{message}");
    let prefixes = json!({"encoder": "e_", "decoder": "d_"});
    let (message, _) = refused_with("prefix", "/workloads/0/functions", prefixes);
    assert!(message.starts_with("workload \"g2p\": "), "{message}");
    assert!(message.contains("decoder_prefill"), "{message}");
    let (message, _) = refused_with("cacheless", "/workloads/0/use_kv_cache", json!(false));
    assert!(message.contains("\"decoder\""), "{message}");
    let (message, _) = refused_with("empty-prefix", "/workloads/0/functions/encoder", json!(""));
    assert!(message.contains("encoder"), "{message}");
}

#[test]
fn items_are_checked_and_named() {
    let (message, item) = refused_with("item-workload", "/items/0/workload", json!("bert"));
    assert!(message.contains("bert") && message.contains("g2p"), "{message}");
    assert_eq!(item, "i1");
    for (value, part) in [
        ("", "the prompt is empty"),
        ("a\tb", r"contains '\t'"),
        ("a\nb", r"contains '\n'"),
        ("a\0b", r"contains '\0'"),
    ] {
        let (message, item) = refused_with("prompt", "/items/0/input", json!(value));
        assert!(message.contains(part), "{message}");
        assert_eq!(item, "i1");
    }
    let (message, _) = refused_with("long", "/items/0/input", json!("abcdefghijklmnopqrstu"));
    assert!(
        message.contains("abcdefghijk") && message.contains("21") && message.contains("20"),
        "{message}"
    );
    for (test, input) in [("number", json!(1)), ("list", json!([])), ("none", json!(null))] {
        let (message, _) = refused_with(test, "/items/0/input", input);
        assert!(message.contains("a prompt or tensors"), "{message}");
    }
    let tensors = json!({"size": 0, "sha256": "", "data": ""});
    let (message, item) = refused_with("tensors", "/items/0/input", tensors);
    assert!(message.contains("takes a prompt, not tensors"), "{message}");
    assert_eq!(item, "i1");
    let item = order()["items"][0].clone();
    let (message, _) = refused_with("item-twice", "/items", json!([item, item]));
    assert!(message.contains("twice"), "{message}");
}

#[test]
#[cfg(not(g2p_tvm_linked))]
fn built_without_tvm_a_good_order_names_the_missing_variables() {
    let end = Scene::new("unlinked").refused(order().to_string());
    assert_eq!(end["error"]["kind"], "model");
    assert!(end["error"]["message"].as_str().unwrap().contains("G2P_TVM_RUNTIME_LIB"));
}

#[test]
#[cfg_attr(not(g2p_tvm_linked), ignore = "set G2P_TVM_RUNTIME_LIB")]
fn a_model_that_is_not_linked_is_named_after_the_header() {
    let scene = Scene::new("no-model");
    fs::write(&scene.order, order().to_string()).unwrap();
    assert_eq!(scene.run().status.code(), Some(1));
    let records = scene.records();
    assert_eq!(records[0]["record"], "header");
    let end = records.last().unwrap();
    assert_eq!(end["error"]["kind"], "model");
    let message = end["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("workload \"g2p\": "), "{message}");
    assert!(message.contains("none_e_"), "{message}");
}

/// A reader that takes nothing keeps the runner waiting: only the end of its standard input ends it.
#[test]
#[cfg(unix)]
fn a_runner_ends_with_whoever_started_it() {
    use std::process::Stdio;
    let scene = Scene::new("orphan");
    // Its id comes back in the end record, which is more than a pipe holds.
    fs::write(&scene.order, json!({"order_id": "o".repeat(1_000_000)}).to_string()).unwrap();
    let mut runner = Command::new(env!("CARGO_BIN_EXE_device_runner"))
        .arg("--stream")
        .arg("--order")
        .arg(&scene.order)
        .arg("--result")
        .arg(&scene.result)
        .env("DEVICE_RUNNER_ENDS_WITH_STDIN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(runner.try_wait().unwrap().is_none(), "it runs as long as its standard input is open");
    drop(runner.stdin.take());
    assert_eq!(runner.wait().unwrap().code(), None, "it ended itself by a signal");
}
