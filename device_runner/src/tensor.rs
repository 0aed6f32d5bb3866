//! Tensor workloads: tensors in, tensors out, whatever they mean.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use charsiug2p_g2p_tvm::{
    Argument, DeviceConfig, Function, Tensor, TvmModule, Value, DEFAULT_ENTRY,
};
use charsiug2p_workload::{
    nanoseconds, Failure, Measured, Order, Planned, ProbeOptions, Probed, Workload,
};
use serde::Deserialize;

use crate::tensors::{self, sha256, SentTensors};

/// Bytes of outputs that fit into one record, whose line the harness reads up to 16 MiB of.
const MOST_OUTPUT_BYTES: usize = 12_000_000;

/// A tensor workload as an order has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorOrder {
    name: String,
    /// The one function, `main`, to its prefix.
    functions: BTreeMap<String, String>,
    /// Names of the arguments, in their order.
    inputs: Vec<String>,
    /// Names of the results, in their order.
    outputs: Vec<String>,
}

impl Order for TensorOrder {
    type Input = SentTensors;

    fn name(&self) -> &str {
        &self.name
    }

    fn plan(self, items: Vec<(String, SentTensors)>) -> Result<Planned, Failure> {
        let prefix = match (self.functions.get(DEFAULT_ENTRY), self.functions.len()) {
            (Some(prefix), 1) if !prefix.is_empty() => prefix.clone(),
            (Some(_), 1) => return Err(Failure::usage("the prefix is empty")),
            _ => {
                let message = format!("it needs the one function {DEFAULT_ENTRY:?}");
                return Err(Failure::usage(message));
            }
        };
        if self.outputs.is_empty() {
            return Err(Failure::usage("it has no outputs"));
        }
        for (id, inputs) in &items {
            inputs.check(&self.inputs).map_err(|why| Failure::bad_item(id, &why))?;
        }
        Ok(Planned {
            calls: items.len(),
            prefix: Some(prefix.clone()),
            load: Box::new(move |on_load| {
                let Self { name, inputs, outputs, .. } = self;
                let items = load_items(items, &inputs)?;
                let started = Instant::now();
                let function = TvmModule::from_system_lib(&prefix)
                    .and_then(|module| module.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY))
                    .map_err(|error| Failure::model(error.to_string()))?;
                on_load(DEFAULT_ENTRY, started.elapsed());
                Ok(Box::new(LoadedModel { name, outputs, function, items }))
            }),
        })
    }
}

/// An item with its inputs where TVM reads them.
struct LoadedItem {
    /// One id, as a record lists it.
    ids: [String; 1],
    inputs: Vec<Tensor>,
}

/// Moves the items' inputs into tensors; the bytes of each are freed on the way.
fn load_items(
    items: Vec<(String, SentTensors)>,
    names: &[String],
) -> Result<Vec<LoadedItem>, Failure> {
    let mut loaded = Vec::with_capacity(items.len());
    for (id, sent) in items {
        let inputs = names.iter().map(|name| sent.load(name)).collect::<Result<_, _>>();
        let inputs = inputs.map_err(|why| Failure::model(why).of_item(&id))?;
        loaded.push(LoadedItem { ids: [id], inputs });
    }
    Ok(loaded)
}

/// A model's function and its items, in the order they run.
struct LoadedModel {
    name: String,
    outputs: Vec<String>,
    function: Function,
    items: Vec<LoadedItem>,
}

impl LoadedModel {
    /// Makes a call; the time is that of the function alone.
    fn call(&self, item: &LoadedItem) -> Result<Answer, String> {
        let arguments: Vec<Argument<'_>> = item.inputs.iter().map(Argument::Tensor).collect();
        let started = Instant::now();
        let value = self.function.call(&arguments);
        let took = started.elapsed();
        let outputs = value.and_then(Value::into_tensors).map_err(|error| error.to_string())?;
        if outputs.len() != self.outputs.len() {
            let (found, expected) = (outputs.len(), self.outputs.len());
            let name = &self.name;
            return Err(format!("{name:?} returned {found} tensors instead of {expected}"));
        }
        Ok(Answer { took, outputs })
    }

    /// What a sample records of an answer. It is computed outside the sample's time.
    fn measure(&self, item: &LoadedItem) -> Result<Measured, String> {
        let answer = self.call(item)?;
        // So that differences between passes are seen without keeping their outputs.
        let output_sha256 = Some(sha256(answer.bytes()?));
        let total_ns = nanoseconds(answer.took);
        Ok(Measured { total_ns, output_sha256, ..Measured::default() })
    }

    /// What a probe records of an answer.
    fn record(&self, item: &LoadedItem) -> Result<Probed, String> {
        let answer = self.call(item)?;
        let size: usize = answer.bytes()?.iter().map(|bytes| bytes.len()).sum();
        if size > MOST_OUTPUT_BYTES {
            return Err(format!("{size} bytes of outputs are more than {MOST_OUTPUT_BYTES}"));
        }
        let named = self.outputs.iter().map(String::as_str).zip(&answer.outputs);
        Ok(Probed { tensors: Some(tensors::record(named)?), ..Probed::default() })
    }
}

impl Workload for LoadedModel {
    fn items(&self, call: usize) -> &[String] {
        &self.items[call].ids
    }

    fn run(&mut self, call: usize) -> Result<Measured, Failure> {
        let item = &self.items[call];
        self.measure(item).map_err(|why| Failure::model(why).of_item(&item.ids[0]))
    }

    fn probe(&mut self, call: usize, _options: &ProbeOptions) -> Result<Probed, Failure> {
        let item = &self.items[call];
        self.record(item).map_err(|why| Failure::model(why).of_item(&item.ids[0]))
    }
}

/// What a call returned.
struct Answer {
    took: Duration,
    outputs: Vec<Tensor>,
}

impl Answer {
    fn bytes(&self) -> Result<Vec<&[u8]>, String> {
        let bytes = self.outputs.iter().map(Tensor::as_bytes).collect::<Result<_, _>>();
        bytes.map_err(|error| error.to_string())
    }
}
