//! A checked order from its header to its memory and probe records.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, process};

use crate::cpu;
use crate::failure::Failure;
use crate::instruments::{Events, Instruments};
use crate::memory;
use crate::order::{Plan, SCHEMA_VERSION};
use crate::records::{nanoseconds, Phase, Record};
use crate::result_file::ResultFile;
use crate::taps::Tapping;
use crate::tensor_model::{load_items, LoadedModel};
use crate::thermal::Thermal;
use crate::words::Words;
use crate::workload::{Measured, Workload};
use crate::Linked;

/// Everything that was loaded for a plan.
struct Loaded {
    workloads: Vec<Box<dyn Workload>>,
    /// The marks of each workload, where the archive has any.
    instruments: Vec<Option<Instruments>>,
    /// The calls of a pass: a workload, and the number of a call of it.
    calls: Vec<(usize, usize)>,
}

impl Loaded {
    /// Loads the models of the plan, those of words first, and takes their items out of it.
    fn load(plan: &mut Plan, linked: &Linked, result: &mut ResultFile) -> Result<Self, Failure> {
        let mut items = load_items(std::mem::take(&mut plan.tensor_items), &plan.tensor_models)?;
        let mut loaded = Self { workloads: Vec::new(), instruments: Vec::new(), calls: Vec::new() };
        let mut of_each = vec![0; plan.models.len() + plan.tensor_models.len()];
        let words = plan.batches.iter().map(|batch| batch.model);
        for workload in words.chain(items.iter().map(|item| plan.models.len() + item.model)) {
            loaded.calls.push((workload, of_each[workload]));
            of_each[workload] += 1;
        }
        for (at, model) in plan.models.iter().enumerate() {
            let batches = plan.batches.iter().filter(|batch| batch.model == at).cloned();
            loaded.workloads.push(Box::new(Words::load(model, batches.collect(), result)?));
        }
        for (at, model) in plan.tensor_models.iter().enumerate() {
            let (own, others) = items.into_iter().partition(|item| item.model == at);
            items = others;
            loaded.workloads.push(Box::new(LoadedModel::load(model, own, result)?));
        }
        // The archive's base is the prefix of its one model of words.
        for _ in &plan.models {
            loaded.instruments.push(linked.prefix.map(Instruments::find).transpose()?.flatten());
        }
        for model in &plan.tensor_models {
            loaded.instruments.push(Instruments::find(&model.prefix)?);
        }
        Ok(loaded)
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
        cpu: cpu::detect(),
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
    let mut loaded = Loaded::load(&mut plan, linked, result)?;
    run_passes(&plan, &mut loaded, thermal, result)?;
    if plan.has_samples_left() {
        result.write(&Record::Memory { peak_bytes: memory::peak_bytes() })?;
    }
    // Any: all of them measure the same machine.
    if let Some(instruments) = loaded.instruments.iter().flatten().next() {
        result.write(&instruments.machine()?)?;
    }
    run_probes(&plan, &mut loaded, linked, result)?;
    thermal.close(result)
}

/// The warm-up and the timed passes, but for those that an earlier process of the order has recorded.
fn run_passes(
    plan: &Plan,
    loaded: &mut Loaded,
    thermal: &mut Thermal,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    let Loaded { workloads, instruments, calls } = loaded;
    let mut skip = plan.skip_samples;
    result.count_skipped(skip);
    let mut first = true;
    for (phase, repetitions) in [(Phase::Warmup, plan.warmup), (Phase::Timed, plan.repetitions)] {
        for repetition in 0..repetitions {
            for &(at, call) in calls.iter() {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                thermal.look(result)?;
                let phase = if first { Phase::First } else { phase };
                first = false;
                let mut marks = instruments[at].as_mut();
                if let Some(marks) = &mut marks {
                    marks.begin()?;
                }
                let workload = &mut workloads[at];
                let measured = workload.run(call, plan.slowdown)?;
                let events = marks.map(Instruments::finish).transpose()?;
                let (model, items) = (workload.name(), workload.items(call));
                write_sample(model, items, phase, repetition, measured, result)?;
                if let Some(Events { numbers, values }) = events {
                    result.write(&Record::Profile {
                        model,
                        items,
                        phase,
                        repetition,
                        numbers,
                        values,
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// Each item once more, with what an order asked for besides times.
fn run_probes(
    plan: &Plan,
    loaded: &mut Loaded,
    linked: &Linked,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    let Some(options) = &plan.probe else { return Ok(()) };
    let mut tapping = Tapping::new(plan.taps.as_ref(), linked.prefix)?;
    for &(at, call) in loaded.calls.iter().skip(plan.skip_probes) {
        let workload = &mut loaded.workloads[at];
        tapping.begin(workload.items(call))?;
        let probed = workload.probe(call, options);
        let (model, items) = (workload.name(), workload.items(call));
        // What led to an error is what its taps show.
        let taps = tapping.record(model, items, result);
        let probed = probed?;
        taps?;
        let (outputs, tensors) = (probed.outputs, probed.tensors);
        result.write(&Record::Probe { model, items, outputs, tensors })?;
    }
    Ok(())
}

fn write_sample(
    model: &str,
    items: &[String],
    phase: Phase,
    repetition: usize,
    measured: Measured,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    result.write(&Record::Sample {
        model,
        items,
        phase,
        repetition,
        total_ns: nanoseconds(measured.total),
        encoder_ns: nanoseconds(measured.encoder),
        prefill_ns: measured.prefill.map(nanoseconds),
        step_ns: measured.steps.into_iter().map(nanoseconds).collect(),
        outputs: measured.outputs,
        output_sha256: measured.output_sha256,
    })
}
