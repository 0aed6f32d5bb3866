//! What an archive that was built for profiles holds besides each model: marks, and the roofline's kernels.
//!
//! `harness/compiler/observe/profiling.py` makes them; archives for apps have none.

use std::time::{Duration, Instant};

use charsiug2p_g2p_tvm::{Argument, Function, Tensor, TvmError, TvmModule};
use charsiug2p_workload::Failure;

use crate::records::Record;
use crate::roofline::Roofline;

/// Events taken at once; a batch of more is taken in several goes by the archive's own room.
const ROOM: usize = 1 << 18;
/// Numbers of an event: its number and its value, in halves.
const WORDS: usize = 4;
/// Readings of both clocks, so that one is not interrupted.
const READINGS: usize = 8;
/// Events whose values are amounts of work and not times.
const WORK: [i64; 2] = [i64::MIN, i64::MIN + 1];

/// Reads the marks of one model of the archive linked in.
pub struct Instruments {
    take: Function,
    ticks: Function,
    roofline: Roofline,
    events: Tensor,
    counts: Tensor,
    counter: Tensor,
    /// When the counter was read first, for the length of its ticks.
    began: (Instant, i64),
    /// The counter before the batch at hand.
    origin: i64,
}

/// What the kernels recorded during one batch.
pub struct Events {
    /// A kernel's number when it begins, its complement when it ends, and the two of work.
    pub numbers: Vec<i64>,
    /// Nanoseconds since the batch began, bytes or FLOPs.
    pub values: Vec<i64>,
}

impl Instruments {
    /// Those of the model with that prefix; none if the archive was not built for profiles.
    pub fn find(model: &str) -> Result<Option<Self>, Failure> {
        Self::open(&format!("{model}profile_")).map_err(|error| failed(&error))
    }

    fn open(prefix: &str) -> Result<Option<Self>, TvmError> {
        let module = TvmModule::from_system_lib(prefix)?;
        let Some(take) = module.function("take")? else { return Ok(None) };
        let mut found = Self {
            take,
            ticks: module.require("ticks")?,
            roofline: Roofline::open(&module)?,
            events: Tensor::zeros::<i32>(&[ROOM, WORDS])?,
            counts: Tensor::zeros::<i32>(&[2])?,
            counter: Tensor::zeros::<i32>(&[2])?,
            began: (Instant::now(), 0),
            origin: 0,
        };
        found.began = found.both_clocks()?;
        Ok(Some(found))
    }

    /// The time and the counter at one moment: of a few readings the one that was least disturbed.
    fn both_clocks(&mut self) -> Result<(Instant, i64), TvmError> {
        let mut best: Option<(Duration, Instant, i64)> = None;
        for _ in 0..READINGS {
            let before = Instant::now();
            let counter = self.now()?;
            let took = before.elapsed();
            if best.is_none_or(|(least, _, _)| took < least) {
                best = Some((took, before + took / 2, counter));
            }
        }
        Ok(best.map_or((Instant::now(), 0), |(_, time, counter)| (time, counter)))
    }

    fn now(&mut self) -> Result<i64, TvmError> {
        self.ticks.call(&[Argument::InPlace(&mut self.counter)])?;
        Ok(join(self.counter.as_slice::<i32>()?))
    }

    /// Drops what was recorded before, since a batch is about to run.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.drain().and_then(|_| self.now()).map(|now| self.origin = now).map_err(|e| failed(&e))
    }

    /// What was recorded since [`Instruments::begin`].
    pub fn finish(&mut self) -> Result<Events, Failure> {
        let lost = self.drain().map_err(|error| failed(&error))?;
        if lost > 0 {
            let message = format!("{lost} marks of a profile had no room: profile fewer tokens");
            return Err(Failure::model(message));
        }
        self.events().map_err(|error| failed(&error))
    }

    /// Takes what was recorded, and returns how much of it was lost.
    fn drain(&mut self) -> Result<i32, TvmError> {
        let arguments = &[Argument::InPlace(&mut self.events), Argument::InPlace(&mut self.counts)];
        self.take.call(arguments)?;
        Ok(self.counts.as_slice::<i32>()?.get(1).copied().unwrap_or(0))
    }

    fn events(&mut self) -> Result<Events, TvmError> {
        let (time, counter) = self.both_clocks()?;
        let elapsed = i128::try_from((time - self.began.0).as_nanos()).unwrap_or(i128::MAX);
        let ticks = i128::from(counter.wrapping_sub(self.began.1)).max(1);
        let origin = self.origin;
        let nanoseconds = |counter: i64| {
            let since = i128::from(counter.wrapping_sub(origin));
            i64::try_from(since.saturating_mul(elapsed) / ticks).unwrap_or(i64::MAX)
        };
        let count = self.counts.as_slice::<i32>()?.first().copied().unwrap_or(0);
        let words = usize::try_from(count).unwrap_or(0) * WORDS;
        let mut events = Events { numbers: Vec::new(), values: Vec::new() };
        for event in self.events.as_slice::<i32>()?[..words].chunks_exact(WORDS) {
            let (number, value) = (join(&event[..2]), join(&event[2..]));
            events.numbers.push(number);
            events.values.push(if WORK.contains(&number) { value } else { nanoseconds(value) });
        }
        Ok(events)
    }

    /// How fast this processor reads and multiplies, on the thread that runs the models.
    pub fn machine(&self) -> Result<Record<'static>, Failure> {
        let bandwidth = self.roofline.bandwidth().map_err(|error| failed(&error))?;
        let flops = self.roofline.flops().map_err(|error| failed(&error))?;
        Ok(Record::Machine { bandwidth, flops })
    }
}

/// The two halves of a number, the lower one first.
fn join(halves: &[i32]) -> i64 {
    match halves {
        &[low, high] => i64::from(high) << 32 | i64::from(low.cast_unsigned()),
        _ => 0,
    }
}

fn failed(error: &TvmError) -> Failure {
    Failure::model(format!("the archive's instruments: {error}"))
}
