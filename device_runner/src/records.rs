//! The result's records.

use std::collections::BTreeMap;
use std::time::Duration;

use charsiug2p_g2p_pipeline::WordOutput;
use serde::Serialize;

use crate::failure::Failure;
use crate::readings::{Cpu, State};
use crate::tensors::TensorsRecord;

/// What a sample is good for.
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

/// What the model answered for one item.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    pub token_ids: Vec<i32>,
    pub text: String,
    pub margins: Option<Vec<f32>>,
    pub logits: Option<BTreeMap<usize, Vec<f32>>>,
}

impl From<WordOutput> for Output {
    fn from(output: WordOutput) -> Self {
        let WordOutput { token_ids, text, margins, logits } = output;
        Self { token_ids, text, margins, logits }
    }
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
        total_ns: u64,
        /// Nanoseconds of the calls inside, by what they are calls of.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        parts: BTreeMap<&'static str, Vec<u64>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Output>,
        /// Of a tensor workload, whose outputs only the probe writes.
        #[serde(skip_serializing_if = "Option::is_none")]
        output_sha256: Option<String>,
    },
    Probe {
        workload: &'a str,
        items: &'a [String],
        #[serde(skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<Output>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tensors: Option<TensorsRecord>,
    },
    /// A piece of what an archive with taps gave away during the probe before.
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
    /// What the kernels of an archive for profiles said during the sample before.
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

/// Whole nanoseconds; a run of 584 years would be cut short.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
