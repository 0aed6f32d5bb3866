//! A checked order from its header to its memory and probe records.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, process};

use charsiug2p_g2p_pipeline::{BatchResult, ProbeOptions, Session};
use charsiug2p_g2p_tvm::{ensure_linked, set_num_threads, DeviceConfig};

use crate::cpu::Cpu;
use crate::failure::{Failure, FailureKind};
use crate::instruments::{Events, Instruments};
use crate::memory;
use crate::order::{Batch, Plan, SCHEMA_VERSION};
use crate::records::{nanoseconds, Output, Phase, Record, ResultFile};

/// Runs the plan and records what it measures. The end record is the caller's.
pub fn run(plan: &Plan, archive_sha256: &str, result: &mut ResultFile) -> Result<(), Failure> {
    let model_failed = |error: &dyn ToString| Failure::new(FailureKind::Model, error.to_string());
    ensure_linked().map_err(|error| model_failed(&error))?;
    set_num_threads(plan.threads).map_err(|error| model_failed(&error))?;
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
    })?;
    let mut sessions = load(plan, result)?;
    let mut instruments = Instruments::find()?;
    let mut skip = plan.skip_samples;
    result.count_skipped(skip);
    let mut first = true;
    for (phase, repetitions) in [(Phase::Warmup, plan.warmup), (Phase::Timed, plan.repetitions)] {
        for repetition in 0..repetitions {
            for batch in &plan.batches {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                if let Some(instruments) = &mut instruments {
                    instruments.begin()?;
                }
                let measured = run_batch(&mut sessions, batch, &ProbeOptions::default())?;
                let phase = if first { Phase::First } else { phase };
                first = false;
                let said = instruments.as_mut().map(Instruments::finish).transpose()?;
                write_sample(plan, batch, phase, repetition, measured, result)?;
                if let Some(Events { numbers, values }) = said {
                    let (model, items) = (&plan.models[batch.model].name, &batch.items);
                    let record =
                        Record::Profile { model, items, phase, repetition, numbers, values };
                    result.write(&record)?;
                }
            }
        }
    }
    if plan.has_samples_left() {
        result.write(&Record::Memory { peak_bytes: memory::peak_bytes() })?;
    }
    if let Some(instruments) = &instruments {
        result.write(&instruments.machine()?)?;
    }
    if let Some(probe) = &plan.probe {
        for batch in plan.batches.iter().skip(plan.skip_probes) {
            let measured = run_batch(&mut sessions, batch, probe)?;
            result.write(&Record::Probe {
                model: &plan.models[batch.model].name,
                items: &batch.items,
                outputs: measured.outputs.into_iter().map(Output::from).collect(),
            })?;
        }
    }
    Ok(())
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
    sessions[batch.model].run(&batch.prompts, probe).map_err(|error| match &batch.items[..] {
        [item] => Failure::from(error).of_item(item),
        items => {
            let Failure { kind, message, item } = Failure::from(error);
            Failure { kind, message: format!("items {}: {message}", items.join(", ")), item }
        }
    })
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
    })
}
