//! Tensor workloads: tensors in, tensors out, whatever they mean.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use charsiug2p_g2p_pipeline::ProbeOptions;
use charsiug2p_g2p_tvm::{
    Argument, DeviceConfig, Function, Tensor, TvmError, TvmModule, Value, DEFAULT_ENTRY,
};
use serde::Deserialize;

use crate::failure::{Failure, FailureKind};
use crate::instruments::Instruments;
use crate::records::{nanoseconds, Record};
use crate::result_file::ResultFile;
use crate::slowdown::Slowdown;
use crate::tensors::{sha256, SentTensors, TensorsRecord};
use crate::workload::{Loaded, Measured, Planned, Probed, Workload};
use crate::Linked;

/// Bytes of outputs that fit into one record, whose line the harness reads up to 16 MiB of.
const MOST_OUTPUT_BYTES: usize = 12_000_000;

/// A tensor workload as an order has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorOrder {
    pub name: String,
    /// The one function, `main`, to its prefix.
    pub functions: BTreeMap<String, String>,
    /// Names of the arguments, in their order.
    pub inputs: Vec<String>,
    /// Names of the results, in their order.
    pub outputs: Vec<String>,
}

/// A checked workload with its items, in the order they run.
#[derive(Debug)]
pub struct TensorCalls {
    name: String,
    prefix: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    items: Vec<(String, SentTensors)>,
}

impl TensorOrder {
    /// Checks the workload and its items, ids and arguments.
    pub fn plan(self, items: Vec<(String, SentTensors)>) -> Result<TensorCalls, Failure> {
        let refuse = |why: String| Failure::usage(format!("workload {:?}: {why}", self.name));
        let prefix = match (self.functions.get(DEFAULT_ENTRY), self.functions.len()) {
            (Some(prefix), 1) if !prefix.is_empty() => prefix.clone(),
            (Some(_), 1) => return Err(refuse("the prefix is empty".to_owned())),
            _ => return Err(refuse(format!("it needs the one function {DEFAULT_ENTRY:?}"))),
        };
        if self.outputs.is_empty() {
            return Err(refuse("it has no outputs".to_owned()));
        }
        for (id, inputs) in &items {
            inputs
                .check(&self.inputs)
                .map_err(|why| Failure::usage(format!("item {id:?}: {why}")).of_item(id))?;
        }
        let Self { name, inputs, outputs, .. } = self;
        Ok(TensorCalls { name, prefix, inputs, outputs, items })
    }
}

impl Planned for TensorCalls {
    fn calls(&self) -> usize {
        self.items.len()
    }

    fn load(self: Box<Self>, _linked: &Linked, result: &mut ResultFile) -> Result<Loaded, Failure> {
        let Self { name, prefix, inputs, outputs, items } = *self;
        let items = load_items(items, &inputs)?;
        let started = Instant::now();
        let function = TvmModule::from_system_lib(&prefix)
            .and_then(|module| module.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY))
            .map_err(|error| {
                Failure::new(FailureKind::Model, format!("workload {name:?}: {error}"))
            })?;
        let load_ns = nanoseconds(started.elapsed());
        result.write(&Record::Load { workload: &name, function: DEFAULT_ENTRY, load_ns })?;
        let instruments = Instruments::find(&prefix)?;
        let workload = Box::new(LoadedModel { name, outputs, function, items });
        Ok(Loaded { workload, instruments })
    }
}

/// An item with its inputs where TVM reads them.
#[derive(Debug)]
struct LoadedItem {
    /// One id, as a record lists it.
    ids: [String; 1],
    inputs: Vec<Tensor>,
}

impl LoadedItem {
    fn id(&self) -> &str {
        &self.ids[0]
    }
}

/// Moves the items' inputs into tensors; the bytes of each are freed on the way.
fn load_items(
    items: Vec<(String, SentTensors)>,
    names: &[String],
) -> Result<Vec<LoadedItem>, Failure> {
    let mut loaded = Vec::with_capacity(items.len());
    for (id, sent) in items {
        let inputs = names.iter().map(|name| sent.load(name)).collect::<Result<_, _>>();
        let inputs = inputs.map_err(|why| Failure::new(FailureKind::Model, why).of_item(&id))?;
        loaded.push(LoadedItem { ids: [id], inputs });
    }
    Ok(loaded)
}

/// A model's function and its items, in the order they run.
#[derive(Debug)]
struct LoadedModel {
    name: String,
    outputs: Vec<String>,
    function: Function,
    items: Vec<LoadedItem>,
}

impl LoadedModel {
    /// Calls it once; the time is that of the call alone.
    fn call(&self, item: &LoadedItem) -> Result<Answer, Failure> {
        let arguments: Vec<Argument<'_>> = item.inputs.iter().map(Argument::Tensor).collect();
        let started = Instant::now();
        let value = self.function.call(&arguments);
        let took = started.elapsed();
        let outputs = value.and_then(Value::into_tensors);
        let outputs = outputs.map_err(|error| failed(&error).of_item(item.id()))?;
        if outputs.len() != self.outputs.len() {
            let (found, said) = (outputs.len(), self.outputs.len());
            let message = format!("{:?} returned {found} tensors instead of {said}", self.name);
            return Err(Failure::new(FailureKind::Model, message).of_item(item.id()));
        }
        Ok(Answer { took, outputs })
    }

    /// What a record says of an answer.
    fn record(&self, answer: &Answer, item: &LoadedItem) -> Result<TensorsRecord, Failure> {
        let size: usize = answer.bytes()?.iter().map(|bytes| bytes.len()).sum();
        if size > MOST_OUTPUT_BYTES {
            let message = format!("{size} bytes of outputs are more than {MOST_OUTPUT_BYTES}");
            return Err(Failure::new(FailureKind::Model, message).of_item(item.id()));
        }
        let named = self.outputs.iter().map(String::as_str).zip(&answer.outputs);
        TensorsRecord::new(named)
            .map_err(|why| Failure::new(FailureKind::Model, why).of_item(item.id()))
    }
}

impl Workload for LoadedModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn items(&self, call: usize) -> &[String] {
        &self.items[call].ids
    }

    /// What is computed of the answer is not in its time.
    fn run(&mut self, call: usize, slowdown: Slowdown) -> Result<Measured, Failure> {
        let answer = self.call(&self.items[call])?;
        let total = slowdown.stretch(answer.took);
        let output_sha256 = Some(answer.sha256()?);
        Ok(Measured { total, output_sha256, ..Measured::default() })
    }

    fn probe(&mut self, call: usize, _options: &ProbeOptions) -> Result<Probed, Failure> {
        let item = &self.items[call];
        let tensors = Some(self.record(&self.call(item)?, item)?);
        Ok(Probed { outputs: Vec::new(), tensors })
    }
}

/// What a call returned.
#[derive(Debug)]
struct Answer {
    took: Duration,
    outputs: Vec<Tensor>,
}

impl Answer {
    /// SHA-256 over the bytes of all outputs, so that passes can be told apart without keeping them.
    fn sha256(&self) -> Result<String, Failure> {
        Ok(sha256(self.bytes()?))
    }

    fn bytes(&self) -> Result<Vec<&[u8]>, Failure> {
        self.outputs
            .iter()
            .map(|tensor| tensor.as_bytes().map_err(|error| failed(&error)))
            .collect()
    }
}

fn failed(error: &TvmError) -> Failure {
    Failure::new(FailureKind::Model, error.to_string())
}
