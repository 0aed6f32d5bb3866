//! The result's records and the file they go to, one JSON object a line.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Stdout, Write};
use std::path::Path;
use std::time::Duration;

use charsiug2p_g2p_pipeline::WordOutput;
use serde::Serialize;

use crate::cpu::Cpu;
use crate::failure::Failure;
use crate::tensors::TensorsRecord;
use crate::thermal::State;

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
        model: &'a str,
        function: &'a str,
        load_ns: u64,
    },
    Sample {
        model: &'a str,
        items: &'a [String],
        phase: Phase,
        repetition: usize,
        total_ns: u64,
        encoder_ns: u64,
        prefill_ns: Option<u64>,
        step_ns: Vec<u64>,
        outputs: Vec<Output>,
        /// Of a model of tensors, whose outputs only the probe writes.
        #[serde(skip_serializing_if = "Option::is_none")]
        output_sha256: Option<String>,
    },
    Probe {
        model: &'a str,
        items: &'a [String],
        outputs: Vec<Output>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tensors: Option<TensorsRecord>,
    },
    /// A piece of what an archive with taps gave away during the probe before.
    Taps {
        model: &'a str,
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
        model: &'a str,
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

/// The result file: created fresh, appended to, each record in the system's hands when `write`
/// returns, so that a killed runner leaves only whole lines and at most one cut one.
#[derive(Debug)]
pub struct ResultFile {
    file: File,
    path: String,
    samples: usize,
    stream: Option<Stdout>,
}

impl ResultFile {
    /// Creates the file; one that is there already is left alone.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Self { file, path: path.display().to_string(), samples: 0, stream: None })
    }

    /// A file that takes nothing.
    #[cfg(all(test, target_os = "linux"))]
    pub fn full_for_tests() -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open("/dev/full")?;
        Ok(Self { file, path: "/dev/full".to_owned(), samples: 0, stream: None })
    }

    /// Appends one record.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::io(format!("{}: {error}", self.path));
        let mut line = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)?;
        self.show(&line);
        if matches!(record, Record::Sample { .. }) {
            self.samples += 1;
        }
        Ok(())
    }

    /// From now on each record is also written to standard output, once it is in the file.
    pub fn stream_to_stdout(&mut self) {
        self.stream = Some(io::stdout());
    }

    /// Whoever watched may have gone; the file is what counts.
    fn show(&mut self, line: &[u8]) {
        let Some(stdout) = &self.stream else { return };
        let mut stdout = stdout.lock();
        if stdout.write_all(line).and_then(|()| stdout.flush()).is_err() {
            drop(stdout);
            self.stream = None;
        }
    }

    /// Counts samples that an earlier process of the same order has recorded.
    pub fn count_skipped(&mut self, samples: usize) {
        self.samples += samples;
    }

    /// Sample records of the order so far.
    pub fn samples(&self) -> usize {
        self.samples
    }
}
