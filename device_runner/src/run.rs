//! A checked order from its header to its memory and probe records.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, process};

use charsiug2p_workload::{nanoseconds, Failure, Planned, Workload};

use crate::cpu;
use crate::instruments::{Events, Instruments};
use crate::memory;
use crate::order::{Plan, SCHEMA_VERSION};
use crate::records::{Phase, Record};
use crate::result_file::ResultFile;
use crate::taps::Tapping;
use crate::thermal::Thermal;
use crate::Linked;

/// A workload that is ready to run.
struct Loaded {
    name: String,
    workload: Box<dyn Workload>,
    /// Present if the archive was built for profiles.
    instruments: Option<Instruments>,
}

/// The calls of a pass: a workload, and the number of a call of it.
fn calls(workloads: &[(String, Planned)]) -> Vec<(usize, usize)> {
    let counts = workloads.iter().map(|(_, planned)| planned.calls).enumerate();
    counts.flat_map(|(at, calls)| (0..calls).map(move |call| (at, call))).collect()
}

/// Takes a workload's model from the program, and records how long each of its functions took.
fn load(
    name: String,
    planned: Planned,
    archive_prefix: Option<&str>,
    result: &mut ResultFile,
) -> Result<Loaded, Failure> {
    let mut loads = Vec::new();
    let workload = (planned.load)(&mut |function, took| loads.push((function, took)));
    for (function, took) in loads {
        let load_ns = nanoseconds(took);
        result.write(&Record::Load { workload: &name, function, load_ns })?;
    }
    let workload = workload.map_err(|failure| failure.of_workload(&name))?;
    let prefix = planned.prefix.as_deref().or(archive_prefix);
    let instruments = prefix.map(Instruments::find).transpose()?.flatten();
    Ok(Loaded { name, workload, instruments })
}

/// Records what runs, with which program, and on what processor.
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

/// Runs the plan and records what it measures. The caller writes the end record.
pub fn run(
    mut plan: Plan,
    linked: &Linked<'_>,
    thermal: &mut Thermal,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    write_header(&plan, linked.archive_sha256, result)?;
    thermal.look(result)?;
    let calls = calls(&plan.workloads);
    let workloads = std::mem::take(&mut plan.workloads).into_iter();
    let mut loaded = workloads
        .map(|(name, planned)| load(name, planned, linked.prefix, result))
        .collect::<Result<Vec<Loaded>, Failure>>()?;
    run_passes(&plan, &mut loaded, &calls, thermal, result)?;
    if plan.has_samples_left() {
        result.write(&Record::Memory { peak_bytes: memory::peak_bytes() })?;
    }
    // One of them is enough, since all measure the same machine.
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
                let Loaded { name, workload, instruments } = &mut loaded[at];
                if let Some(marks) = instruments {
                    marks.begin()?;
                }
                let mut measured = workload.run(call)?;
                plan.slowdown.burn(&mut measured);
                let events = instruments.as_mut().map(Instruments::finish).transpose()?;
                let (workload, items) = (name.as_str(), workload.items(call));
                result.write(&Record::Sample { workload, items, phase, repetition, measured })?;
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
    linked: &Linked<'_>,
    result: &mut ResultFile,
) -> Result<(), Failure> {
    let Some(options) = &plan.probe else { return Ok(()) };
    let mut tapping = Tapping::new(plan.taps.as_ref(), linked.prefix)?;
    for &(at, call) in calls.iter().skip(plan.skip_probes) {
        let Loaded { name, workload, .. } = &mut loaded[at];
        tapping.begin(workload.items(call))?;
        let probed = workload.probe(call, options);
        let (workload, items) = (name.as_str(), workload.items(call));
        // What led to an error is what its taps show.
        let taps = tapping.record(workload, items, result);
        let probed = probed?;
        taps?;
        result.write(&Record::Probe { workload, items, probed })?;
    }
    Ok(())
}
