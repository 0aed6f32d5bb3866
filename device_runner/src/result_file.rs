//! The file that records go to, one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Stdout, Write};
use std::path::Path;

use charsiug2p_workload::Failure;

use crate::records::Record;

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

    /// A file to which nothing can be written.
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
    #[cfg(feature = "program")]
    pub fn stream_to_stdout(&mut self) {
        self.stream = Some(io::stdout());
    }

    /// Ignores errors: the program that watched may have gone, and the file is the result.
    fn show(&mut self, line: &[u8]) {
        let Some(stdout) = &self.stream else { return };
        let mut stdout = stdout.lock();
        if stdout.write_all(line).and_then(|()| stdout.flush()).is_err() {
            drop(stdout);
            self.stream = None;
        }
    }

    /// Counts samples from none again: the file holds the records of several orders.
    pub fn begin_order(&mut self) {
        self.samples = 0;
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
