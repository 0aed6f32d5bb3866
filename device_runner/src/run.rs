//! A checked order from its header to its memory and probe records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, process};

use crate::cpu;
use crate::failure::Failure;
use crate::instruments::{Events, Instruments};
use crate::memory;
use crate::order::{Plan, SCHEMA_VERSION};
use crate::records::{nanoseconds, Phase, Record};
use crate::result_file::ResultFile;
use crate::taps::Tapping;
use crate::thermal::Thermal;
use crate::workload::{Loaded, Measured, Planned};
use crate::Linked;

/// The calls of a pass: a workload, and the number of a call of it.
fn calls(workloads: &[Box<dyn Planned>]) -> Vec<(usize, usize)> {
    let counts = workloads.iter().map(|planned| planned.calls()).enumerate();
    counts.flat_map(|(at, calls)| (0..calls).map(move |call| (at, call))).collect()
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
    let calls = calls(&plan.workloads);
    let workloads = std::mem::take(&mut plan.workloads).into_iter();
    let mut loaded = workloads
        .map(|planned| planned.load(linked, result))
        .collect::<Result<Vec<Loaded>, Failure>>()?;
    run_passes(&plan, &mut loaded, &calls, thermal, result)?;
    if plan.has_samples_left() {
        result.write(&Record::Memory { peak_bytes: memory::peak_bytes() })?;
    }
    // Any: all of them measure the same machine.
    if let Some(instruments) = loaded.iter().find_map(|one| one.instruments.as_ref()) {
        result.write(&instruments.machine()?)?;
    }
    run_probes(&plan, &mut loaded, &calls, linked, result)?;
    thermal.close(result)
}

/// The warm-up and the timed passes, but for those that an earlier process of the order has recorded.
fn run_passes(
    plan: &Plan,
    loaded: &mut [Loaded],
    calls: &[(usize, usize)],
    thermal: &mut Thermal,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    let mut skip = plan.skip_samples;
    result.count_skipped(skip);
    let mut first = true;
    for (phase, repetitions) in [(Phase::Warmup, plan.warmup), (Phase::Timed, plan.repetitions)] {
        for repetition in 0..repetitions {
            for &(at, call) in calls {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                thermal.look(result)?;
                let phase = if first { Phase::First } else { phase };
                first = false;
                let Loaded { workload, instruments } = &mut loaded[at];
                if let Some(marks) = instruments {
                    marks.begin()?;
                }
                let measured = workload.run(call, plan.slowdown)?;
                let events = instruments.as_mut().map(Instruments::finish).transpose()?;
                let (workload, items) = (workload.name(), workload.items(call));
                write_sample(workload, items, phase, repetition, measured, result)?;
                if let Some(Events { numbers, values }) = events {
                    result.write(&Record::Profile {
                        workload,
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
    loaded: &mut [Loaded],
    calls: &[(usize, usize)],
    linked: &Linked,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    let Some(options) = &plan.probe else { return Ok(()) };
    let mut tapping = Tapping::new(plan.taps.as_ref(), linked.prefix)?;
    for &(at, call) in calls.iter().skip(plan.skip_probes) {
        let workload = &mut loaded[at].workload;
        tapping.begin(workload.items(call))?;
        let probed = workload.probe(call, options);
        let (workload, items) = (workload.name(), workload.items(call));
        // What led to an error is what its taps show.
        let taps = tapping.record(workload, items, result);
        let probed = probed?;
        taps?;
        let (outputs, tensors) = (probed.outputs, probed.tensors);
        result.write(&Record::Probe { workload, items, outputs, tensors })?;
    }
    Ok(())
}

fn write_sample(
    workload: &str,
    items: &[String],
    phase: Phase,
    repetition: usize,
    measured: Measured,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    let Measured { total, parts, outputs, output_sha256 } = measured;
    let spent = |calls: Vec<Duration>| calls.into_iter().map(nanoseconds).collect();
    result.write(&Record::Sample {
        workload,
        items,
        phase,
        repetition,
        total_ns: nanoseconds(total),
        parts: parts.into_iter().map(|(name, calls)| (name, spent(calls))).collect(),
        outputs,
        output_sha256,
    })
}
