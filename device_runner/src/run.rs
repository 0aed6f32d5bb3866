//! A checked order from its header to its memory and probe records.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, process};

use charsiug2p_g2p_pipeline::{BatchResult, PipelineError, ProbeOptions, Session};
use charsiug2p_g2p_tvm::{DeviceConfig, DEFAULT_ENTRY};

use crate::cpu::Cpu;
use crate::failure::{Failure, FailureKind};
use crate::instruments::{Events, Instruments};
use crate::memory;
use crate::order::{Batch, Plan, SCHEMA_VERSION};
use crate::records::{nanoseconds, Output, Phase, Record, ResultFile};
use crate::taps::Tapping;
use crate::tensor_model::{load_items, Answer, LoadedItem, LoadedModel};
use crate::thermal::Thermal;
use crate::Linked;

/// What one pass runs once.
enum Unit<'a> {
    Words(&'a Batch),
    Tensors(&'a LoadedItem),
}

/// Everything that was loaded for a plan.
struct Loaded {
    sessions: Vec<Session>,
    models: Vec<LoadedModel>,
    items: Vec<LoadedItem>,
    profiles: Profiles,
}

/// The marks of a plan's models, where the archive has any.
struct Profiles {
    words: Option<Instruments>,
    /// In the order of the plan's tensor models.
    tensors: Vec<Option<Instruments>>,
}

impl Profiles {
    fn find(plan: &Plan, linked: &Linked) -> Result<Self, Failure> {
        // The archive's base is the prefix of its one model of words.
        let prefix = linked.prefix.filter(|_| !plan.models.is_empty());
        let words = prefix.map(Instruments::find).transpose()?.flatten();
        let tensors = plan.tensor_models.iter().map(|model| Instruments::find(&model.prefix));
        Ok(Self { words, tensors: tensors.collect::<Result<_, _>>()? })
    }

    /// Those of the model that a unit runs.
    fn of(&mut self, unit: &Unit<'_>) -> Option<&mut Instruments> {
        match unit {
            Unit::Words(_) => self.words.as_mut(),
            Unit::Tensors(item) => self.tensors.get_mut(item.model)?.as_mut(),
        }
    }

    /// Any: all of them measure the same machine.
    fn first(&self) -> Option<&Instruments> {
        self.words.iter().chain(self.tensors.iter().flatten()).next()
    }
}

/// Who runs what, where.
fn write_header(plan: &Plan, archive_sha256: &str, result: &mut ResultFile) -> Result<(), Failure> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    result.write(&Record::Header {
        schema_version: SCHEMA_VERSION,
        order_id: &plan.order_id,
        runner_version: env!("CARGO_PKG_VERSION"),
        archive_sha256,
        os: env::consts::OS,
        arch: env::consts::ARCH,
        cpu: Cpu::detect(),
        threads: plan.threads,
        pid: process::id(),
        started_unix_ns: nanoseconds(started),
        slowdown_percent: plan.slowdown.percent(),
    })
}

/// Runs the plan and records what it measures. The end record is the caller's.
pub fn run(
    mut plan: Plan,
    linked: &Linked,
    thermal: &mut Thermal,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    write_header(&plan, linked.archive_sha256, result)?;
    thermal.look(result)?;
    let items = load_items(std::mem::take(&mut plan.tensor_items), &plan.tensor_models)?;
    let plan = &plan;
    let mut loaded = Loaded {
        sessions: load(plan, result)?,
        models: load_models(plan, result)?,
        items,
        profiles: Profiles::find(plan, linked)?,
    };
    let Loaded { sessions, models, items, profiles } = &mut loaded;
    let units = || {
        let words = plan.batches.iter().map(Unit::Words);
        words.chain(items.iter().map(Unit::Tensors))
    };
    let mut skip = plan.skip_samples;
    result.count_skipped(skip);
    let mut first = true;
    for (phase, repetitions) in [(Phase::Warmup, plan.warmup), (Phase::Timed, plan.repetitions)] {
        for repetition in 0..repetitions {
            for unit in units() {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                thermal.look(result)?;
                let phase = if first { Phase::First } else { phase };
                first = false;
                let mut instruments = profiles.of(&unit);
                if let Some(instruments) = &mut instruments {
                    instruments.begin()?;
                }
                match unit {
                    Unit::Words(batch) => {
                        let mut measured = run_batch(sessions, batch, &ProbeOptions::default())?;
                        plan.slowdown.burn(&mut measured.timings);
                        let said = instruments.map(Instruments::finish).transpose()?;
                        write_sample(plan, batch, phase, repetition, measured, result)?;
                        let model = &plan.models[batch.model].name;
                        write_profile(said, model, &batch.items, phase, repetition, result)?;
                    }
                    Unit::Tensors(item) => {
                        let model = &models[item.model];
                        let mut answer = model.call(item)?;
                        answer.took = plan.slowdown.stretch(answer.took);
                        let said = instruments.map(Instruments::finish).transpose()?;
                        write_tensor_sample(model, item, &answer, phase, repetition, result)?;
                        let items = std::slice::from_ref(&item.id);
                        write_profile(said, &model.name, items, phase, repetition, result)?;
                    }
                }
            }
        }
    }
    if plan.has_samples_left() {
        result.write(&Record::Memory { peak_bytes: memory::peak_bytes() })?;
    }
    if let Some(instruments) = profiles.first() {
        result.write(&instruments.machine()?)?;
    }
    if let Some(probe) = &plan.probe {
        let mut tapping = Tapping::new(plan.taps.as_ref(), linked.prefix)?;
        for unit in units().skip(plan.skip_probes) {
            match unit {
                Unit::Words(batch) => {
                    let model = &plan.models[batch.model].name;
                    tapping.begin(&batch.items)?;
                    let measured = run_batch(sessions, batch, probe);
                    let taps = tapping.record(model, &batch.items, result);
                    // What led to an error is what its taps tell.
                    let outputs = measured?.outputs.into_iter().map(Output::from).collect();
                    taps?;
                    let items = &batch.items;
                    result.write(&Record::Probe { model, items, outputs, tensors: None })?;
                }
                Unit::Tensors(item) => {
                    let model = &models[item.model];
                    let items = std::slice::from_ref(&item.id);
                    tapping.begin(items)?;
                    let answer = model.call(item);
                    tapping.record(&model.name, items, result)?;
                    let tensors = Some(model.record(&answer?, item)?);
                    let outputs = Vec::new();
                    result.write(&Record::Probe { model: &model.name, items, outputs, tensors })?;
                }
            }
        }
    }
    thermal.close(result)
}

fn load_models(plan: &Plan, result: &mut ResultFile) -> Result<Vec<LoadedModel>, Failure> {
    let mut loaded = Vec::with_capacity(plan.tensor_models.len());
    for model in &plan.tensor_models {
        let (ready, took) = LoadedModel::load(model)?;
        let load_ns = nanoseconds(took);
        result.write(&Record::Load { model: &model.name, function: DEFAULT_ENTRY, load_ns })?;
        loaded.push(ready);
    }
    Ok(loaded)
}

/// Records what the marks of an archive for profiles said, if it has any.
fn write_profile(
    said: Option<Events>,
    model: &str,
    items: &[String],
    phase: Phase,
    repetition: usize,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    let Some(Events { numbers, values }) = said else { return Ok(()) };
    result.write(&Record::Profile { model, items, phase, repetition, numbers, values })
}

/// Records one call; what is computed of the answer is not in its time.
fn write_tensor_sample(
    model: &LoadedModel,
    item: &LoadedItem,
    answer: &Answer,
    phase: Phase,
    repetition: usize,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    result.write(&Record::Sample {
        model: &model.name,
        items: std::slice::from_ref(&item.id),
        phase,
        repetition,
        total_ns: nanoseconds(answer.took),
        encoder_ns: 0,
        prefill_ns: None,
        step_ns: Vec::new(),
        outputs: Vec::new(),
        output_sha256: Some(answer.sha256()?),
    })
}

fn load(plan: &Plan, result: &mut ResultFile) -> Result<Vec<Session>, Failure> {
    let mut sessions = Vec::with_capacity(plan.models.len());
    for model in &plan.models {
        let mut loads = Vec::new();
        let session = Session::load(
            model.config.clone(),
            &model.prefixes,
            DeviceConfig::cpu(),
            |name, took| {
                loads.push((name, took));
            },
        );
        for (function, took) in loads {
            let load_ns = nanoseconds(took);
            result.write(&Record::Load { model: &model.name, function, load_ns })?;
        }
        sessions.push(session.map_err(|error| {
            Failure::new(FailureKind::Model, format!("model {:?}: {error}", model.name))
        })?);
    }
    Ok(sessions)
}

fn run_batch(
    sessions: &mut [Session],
    batch: &Batch,
    probe: &ProbeOptions,
) -> Result<BatchResult, Failure> {
    sessions[batch.model].run(&batch.prompts, probe).map_err(|error| blame(batch, error))
}

/// Names the item whose answer cannot be one, or else all that were in the batch.
fn blame(batch: &Batch, error: PipelineError) -> Failure {
    let answered =
        error.answered().and_then(|said| batch.prompts.iter().position(|prompt| prompt == said));
    let failure = Failure::from(error);
    match (answered.and_then(|at| batch.items.get(at)), &batch.items[..]) {
        (Some(item), _) | (None, [item]) => failure.of_item(item),
        (None, items) => Failure {
            message: format!("items {}: {}", items.join(", "), failure.message),
            ..failure
        },
    }
}

fn write_sample(
    plan: &Plan,
    batch: &Batch,
    phase: Phase,
    repetition: usize,
    measured: BatchResult,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    let BatchResult { outputs, timings } = measured;
    result.write(&Record::Sample {
        model: &plan.models[batch.model].name,
        items: &batch.items,
        phase,
        repetition,
        total_ns: nanoseconds(timings.total),
        encoder_ns: nanoseconds(timings.encoder),
        prefill_ns: timings.prefill.map(nanoseconds),
        step_ns: timings.steps.into_iter().map(nanoseconds).collect(),
        outputs: outputs.into_iter().map(Output::from).collect(),
        output_sha256: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_without_an_answer_is_named() {
        let batch = Batch {
            model: 0,
            items: vec!["w0".into(), "w1".into()],
            prompts: vec!["one".into(), "two".into()],
        };
        let nan = |prompt: &str| PipelineError::NotFinite {
            step: 2,
            prompt: prompt.into(),
            value: "NaN".into(),
        };
        let failure = blame(&batch, nan("two"));
        assert_eq!((failure.kind, failure.item.as_deref()), (FailureKind::Answer, Some("w1")));
        let failure = blame(&batch, PipelineError::BatchSize { given: 2, batch_size: 1 });
        assert_eq!((failure.kind, failure.item), (FailureKind::Model, None));
        assert!(failure.message.starts_with("items w0, w1: "), "{}", failure.message);
    }
}
