//! Models of the kind `tensors`: tensors in, tensors out, nothing known of what they mean.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use charsiug2p_g2p_pipeline::ProbeOptions;
use charsiug2p_g2p_tvm::{
    Argument, DeviceConfig, Function, Tensor, TvmError, TvmModule, Value, DEFAULT_ENTRY,
};
use serde::Deserialize;

use crate::failure::{Failure, FailureKind};
use crate::records::{nanoseconds, Record};
use crate::result_file::ResultFile;
use crate::slowdown::Slowdown;
use crate::tensors::{sha256, SentTensors, TensorsRecord};
use crate::workload::{Measured, Probed, Workload};

/// Bytes of outputs that fit into one record, whose line the harness reads up to 16 MiB of.
const MOST_OUTPUT_BYTES: usize = 12_000_000;

/// A model of the archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorModel {
    pub name: String,
    pub prefix: String,
    /// Names of the arguments, in their order.
    pub inputs: Vec<String>,
    /// Names of the results, in their order.
    pub outputs: Vec<String>,
}

/// One call, with the model's arguments by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorItem {
    pub id: String,
    pub model: String,
    pub inputs: SentTensors,
}

/// Refuses what can be refused before anything is loaded. `names` and `ids` are those of other kinds.
pub fn check<'a>(
    models: &'a [TensorModel],
    items: &'a [TensorItem],
    mut names: BTreeSet<&'a str>,
    mut ids: BTreeSet<&'a str>,
) -> Result<(), Failure> {
    for model in models {
        let refuse = |reason: &str| Failure::usage(format!("model {:?}: {reason}", model.name));
        if !names.insert(&model.name) {
            return Err(refuse("named twice"));
        }
        if model.prefix.is_empty() {
            return Err(refuse("the prefix is empty"));
        }
        if model.outputs.is_empty() {
            return Err(refuse("it has no outputs"));
        }
    }
    for item in items {
        let refuse = |reason: String| {
            Failure::usage(format!("item {:?}: {reason}", item.id)).of_item(&item.id)
        };
        if item.id.is_empty() || !ids.insert(&item.id) {
            return Err(refuse("its id is empty or stands twice in the order".to_owned()));
        }
        let Some(model) = models.iter().find(|model| model.name == item.model) else {
            return Err(refuse(format!("the order names no model {:?} of tensors", item.model)));
        };
        item.inputs.check(&model.inputs).map_err(refuse)?;
    }
    Ok(())
}

/// An item with its inputs where TVM reads them.
#[derive(Debug)]
pub struct LoadedItem {
    /// One id, as a record lists it.
    ids: [String; 1],
    /// Index into the order's tensor models.
    pub model: usize,
    inputs: Vec<Tensor>,
}

impl LoadedItem {
    fn id(&self) -> &str {
        &self.ids[0]
    }
}

/// Moves the items' inputs into tensors; the bytes of each are freed on the way.
pub fn load_items(
    items: Vec<TensorItem>,
    models: &[TensorModel],
) -> Result<Vec<LoadedItem>, Failure> {
    let mut loaded = Vec::with_capacity(items.len());
    for item in items {
        let refuse = |reason: String| Failure::usage(reason).of_item(&item.id);
        let model = models
            .iter()
            .position(|model| model.name == item.model)
            .ok_or_else(|| refuse(format!("no model {:?}", item.model)))?;
        let names = models[model].inputs.iter();
        let inputs = names.map(|name| item.inputs.load(name)).collect::<Result<_, _>>();
        let inputs =
            inputs.map_err(|why| Failure::new(FailureKind::Model, why).of_item(&item.id))?;
        loaded.push(LoadedItem { ids: [item.id], model, inputs });
    }
    Ok(loaded)
}

/// A model's function and its items, in the order they run.
#[derive(Debug)]
pub struct LoadedModel {
    name: String,
    outputs: Vec<String>,
    function: Function,
    items: Vec<LoadedItem>,
}

impl LoadedModel {
    /// Takes the model from the program, starts its virtual machine, and records how long that took.
    pub fn load(
        model: &TensorModel,
        items: Vec<LoadedItem>,
        result: &mut ResultFile,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let function = TvmModule::from_system_lib(&model.prefix)
            .and_then(|module| module.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY))
            .map_err(|error| {
                Failure::new(FailureKind::Model, format!("model {:?}: {error}", model.name))
            })?;
        let load_ns = nanoseconds(started.elapsed());
        result.write(&Record::Load { model: &model.name, function: DEFAULT_ENTRY, load_ns })?;
        Ok(Self { name: model.name.clone(), outputs: model.outputs.clone(), function, items })
    }

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
