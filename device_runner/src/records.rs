//! The result's records.

use std::collections::BTreeMap;

use charsiug2p_workload::{Failure, Measured, Probed, TensorsRecord};
use serde::Serialize;

use crate::readings::{Cpu, State};

/// The part of the run that a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The first inference of the process.
    First,
    Warmup,
    Timed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    Error,
}

/// One line of `result.jsonl`; the fields are explained in `harness/protocol/schema.py`.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub enum Record<'a> {
    Header {
        schema_version: u32,
        order_id: &'a str,
        runner_version: &'a str,
        archive_sha256: &'a str,
        os: &'a str,
        arch: &'a str,
        cpu: Cpu,
        threads: usize,
        pid: u32,
        started_unix_ns: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        slowdown_percent: Option<f64>,
    },
    Load {
        workload: &'a str,
        function: &'a str,
        load_ns: u64,
    },
    Sample {
        workload: &'a str,
        items: &'a [String],
        phase: Phase,
        repetition: usize,
        #[serde(flatten)]
        measured: Measured,
    },
    Probe {
        workload: &'a str,
        items: &'a [String],
        #[serde(flatten)]
        probed: Probed,
    },
    /// A piece of what an archive with taps recorded during the probe before.
    Taps {
        workload: &'a str,
        items: &'a [String],
        part: usize,
        tensors: TensorsRecord,
    },
    Thermal {
        state: State,
        at_unix_ns: u64,
    },
    /// What the kernels of an archive for profiles recorded during the sample before.
    Profile {
        workload: &'a str,
        items: &'a [String],
        phase: Phase,
        repetition: usize,
        numbers: Vec<i64>,
        values: Vec<i64>,
    },
    Memory {
        peak_bytes: Option<u64>,
    },
    /// Bytes a second by working set in bytes, and operations a second by element type.
    Machine {
        bandwidth: BTreeMap<usize, f64>,
        flops: BTreeMap<&'static str, f64>,
    },
    End {
        order_id: &'a str,
        status: Status,
        samples: usize,
        error: Option<&'a Failure>,
    },
}
