//! The work order: `harness/protocol/schema.py` in Rust, and everything that can be wrong with one.

use std::collections::BTreeSet;

use charsiug2p_workload::{Failure, Planned, ProbeOptions};
use serde::de::IgnoredAny;
use serde::Deserialize;

use crate::input::Input;
use crate::kinds::OrderedWorkload;
use crate::slowdown::Slowdown;
use crate::taps::TapWindow;

/// The one version of the schema.
pub const SCHEMA_VERSION: u32 = 2;

/// The most threads of a pool, as in `harness/native/shims/harness/thread_pool.h`.
pub const MOST_THREADS: usize = 64;

const fn one() -> usize {
    1
}

const fn version() -> u32 {
    SCHEMA_VERSION
}

/// One input of one workload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkItem {
    pub id: String,
    pub workload: String,
    pub input: Input,
    /// For readers of the result.
    #[serde(default, rename = "label")]
    _label: IgnoredAny,
    /// For readers of the result, too.
    #[serde(default, rename = "subset")]
    _subset: IgnoredAny,
}

/// What the probe pass records.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordOptions {
    #[serde(default)]
    pub margins: bool,
    #[serde(default)]
    pub logit_steps: Vec<usize>,
    #[serde(default)]
    pub taps: Option<TapWindow>,
}

/// What to run and how often.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkOrder {
    #[serde(default = "version")]
    pub schema_version: u32,
    pub order_id: String,
    pub archive_sha256: String,
    pub workloads: Vec<OrderedWorkload>,
    pub items: Vec<WorkItem>,
    #[serde(default = "one")]
    pub warmup: usize,
    #[serde(default = "one")]
    pub repetitions: usize,
    #[serde(default = "one")]
    pub threads: usize,
    #[serde(default)]
    pub probe: Option<RecordOptions>,
    /// Samples that an earlier process of this order has recorded.
    #[serde(default)]
    pub skip_samples: usize,
    /// Probes that an earlier process of this order has recorded.
    #[serde(default)]
    pub skip_probes: usize,
    /// A test of the gate: how much longer each call is made to take.
    #[serde(default)]
    pub slowdown_percent: f64,
}

/// A checked order, ready to run.
pub struct Plan {
    pub order_id: String,
    /// With their names, in the order they run.
    pub workloads: Vec<(String, Planned)>,
    /// Calls of all workloads: what a pass makes.
    pub calls: usize,
    pub warmup: usize,
    pub repetitions: usize,
    pub threads: usize,
    pub probe: Option<ProbeOptions>,
    /// The taps of the probe.
    pub taps: Option<TapWindow>,
    pub skip_samples: usize,
    pub skip_probes: usize,
    pub slowdown: Slowdown,
}

impl Plan {
    /// Whether samples are left to record; the memory of a process that ran none is of no use.
    pub fn has_samples_left(&self) -> bool {
        let passes = self.warmup.saturating_add(self.repetitions);
        self.skip_samples == 0 || passes.saturating_mul(self.calls) > self.skip_samples
    }
}

/// Reads an order. The order id is found even in orders that are refused, where there is one.
pub fn parse(bytes: &[u8]) -> Result<WorkOrder, Failure> {
    let failed = |error: serde_json::Error| Failure::usage(format!("the order: {error}"));
    serde_json::from_slice(bytes)
        .map_err(|error| other_version(bytes).unwrap_or_else(|| failed(error)))
}

/// An order of another version has other fields, and the version is what is wrong with it.
fn other_version(bytes: &[u8]) -> Option<Failure> {
    let order: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let version = order.get("schema_version")?.as_u64()?;
    (version != u64::from(SCHEMA_VERSION)).then(|| wrong_version(version))
}

fn wrong_version(version: u64) -> Failure {
    Failure::usage(format!(
        "schema_version {version} is not {SCHEMA_VERSION}, the one this runner reads"
    ))
}

/// The order id of bytes that may be no valid order; empty if there is none.
pub fn order_id_of(bytes: &[u8]) -> String {
    serde_json::from_slice::<serde_json::Value>(bytes)
        .ok()
        .and_then(|order| Some(order.get("order_id")?.as_str()?.to_owned()))
        .unwrap_or_default()
}

impl WorkOrder {
    /// Checks everything that can be checked before the first model is loaded.
    pub fn plan(self, archive_sha256: &str) -> Result<Plan, Failure> {
        if self.schema_version != SCHEMA_VERSION {
            return Err(wrong_version(self.schema_version.into()));
        }
        if self.order_id.is_empty() {
            return Err(Failure::usage("order_id is empty"));
        }
        if self.archive_sha256 != archive_sha256 {
            return Err(Failure::usage(format!(
                "the order is for the archive {}, this runner was built with {archive_sha256}",
                self.archive_sha256
            )));
        }
        if !(1..=MOST_THREADS).contains(&self.threads) {
            return Err(Failure::usage(format!("threads must be from 1 to {MOST_THREADS}")));
        }
        let slowdown = Slowdown::new(self.slowdown_percent)?;
        if let Some(window) = self.probe.as_ref().and_then(|probe| probe.taps.as_ref()) {
            window.check(|item| self.items.iter().any(|known| known.id == item))?;
        }
        let workloads = plan_workloads(self.workloads, self.items)?;
        let calls = workloads.iter().map(|(_, planned)| planned.calls).sum();
        let passes = self.warmup.checked_add(self.repetitions);
        let samples = passes.and_then(|passes| passes.checked_mul(calls));
        let probes = if self.probe.is_some() { calls } else { 0 };
        for (skipped, all, what) in [
            (self.skip_samples, samples.unwrap_or(0), "samples"),
            (self.skip_probes, probes, "probes"),
        ] {
            if skipped > all {
                let message = format!("skip_{what} is {skipped}, the order has {all} {what}");
                return Err(Failure::usage(message));
            }
        }
        if self.skip_probes > 0 && samples != Some(self.skip_samples) {
            let message = "skip_probes without skipping every sample: probes come after them";
            return Err(Failure::usage(message));
        }
        let (probe, taps) = match self.probe {
            Some(RecordOptions { margins, logit_steps, taps }) => {
                (Some(ProbeOptions { margins, logit_steps }), taps)
            }
            None => (None, None),
        };
        Ok(Plan {
            order_id: self.order_id,
            workloads,
            calls,
            warmup: self.warmup,
            repetitions: self.repetitions,
            threads: self.threads,
            skip_samples: self.skip_samples,
            skip_probes: self.skip_probes,
            slowdown,
            probe,
            taps,
        })
    }
}

/// Each workload with its own items.
fn plan_workloads(
    workloads: Vec<OrderedWorkload>,
    items: Vec<WorkItem>,
) -> Result<Vec<(String, Planned)>, Failure> {
    if workloads.is_empty() {
        return Err(Failure::usage("the order names no workloads"));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = workloads.iter().find(|workload| !names.insert(workload.name())) {
        return Err(Failure::usage(format!("workload {:?}: named twice", twice.name())));
    }
    let mut ids = BTreeSet::new();
    for item in &items {
        let refuse = |reason: &str| Failure::bad_item(&item.id, reason);
        if item.id.is_empty() || !ids.insert(&item.id) {
            return Err(refuse("its id is empty or stands twice in the order"));
        }
        if !names.contains(item.workload.as_str()) {
            let known = names.iter().copied().collect::<Vec<_>>().join(", ");
            let reason = format!("no workload {:?}, the order names {known}", item.workload);
            return Err(refuse(&reason));
        }
    }
    let mut left = items;
    let mut planned = Vec::with_capacity(workloads.len());
    for workload in workloads {
        let name = workload.name().to_owned();
        let (own, others) = left.into_iter().partition::<Vec<_>, _>(|item| item.workload == name);
        left = others;
        let own = own.into_iter().map(|item| (item.id, item.input)).collect();
        let plan = workload.plan(own).map_err(|failure| failure.of_workload(&name))?;
        planned.push((name, plan));
    }
    Ok(planned)
}
