//! Reads what an archive with taps records: the values that its kernels computed, as one stream of bytes.
//!
//! `harness/compiler/observe/tracing.py` makes them and `harness/explain/taps.py` reads the stream; archives for apps have none.

use charsiug2p_g2p_tvm::{Argument, ElementType, Function, Tensor, TvmError, TvmModule};
use charsiug2p_workload::Failure;
use serde::Deserialize;

use crate::records::Record;
use crate::result_file::ResultFile;
use crate::tensors;

/// Bytes of the stream in one record, whose line the harness reads up to 16 MiB of.
const PIECE: usize = 8_000_000;
/// The tensor's name in a record.
const NAME: &str = "taps";

/// Whose calls are recorded, and which: counted from 0 within the item's probe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapWindow {
    pub item: String,
    pub first: i32,
    pub last: i32,
}

impl TapWindow {
    /// Refuses what cannot be; `known` returns whether the order has an item.
    pub fn check(&self, known: impl Fn(&str) -> bool) -> Result<(), Failure> {
        if !known(&self.item) {
            return Err(Failure::usage(format!("taps: the order has no item {:?}", self.item)));
        }
        if self.first < 0 || self.last <= self.first {
            let message = format!("taps: no calls from {} to {}", self.first, self.last);
            return Err(Failure::usage(message));
        }
        Ok(())
    }
}

/// The taps that an order asked for, if it did.
pub struct Tapping<'a>(Option<(&'a TapWindow, Taps)>);

impl<'a> Tapping<'a> {
    /// Finds the archive's functions, behind its prefix base, where a window asks for them.
    pub fn new(window: Option<&'a TapWindow>, prefix: Option<&str>) -> Result<Self, Failure> {
        window.map(|window| Ok((window, Taps::find(prefix)?))).transpose().map(Self)
    }

    /// Begins to keep values, since these items' probe is about to run.
    pub fn begin(&mut self, items: &[String]) -> Result<(), Failure> {
        match self.of(items) {
            Some((window, taps)) => taps.keep(window.first, window.last),
            None => Ok(()),
        }
    }

    /// Records the values of these items' probe.
    pub fn record(
        &mut self,
        workload: &str,
        items: &[String],
        result: &mut ResultFile,
    ) -> Result<(), Failure> {
        match self.of(items) {
            Some((_, taps)) => taps.record(workload, items, result),
            None => Ok(()),
        }
    }

    fn of(&mut self, items: &[String]) -> Option<(&'a TapWindow, &mut Taps)> {
        let (window, taps) = self.0.as_mut()?;
        items.contains(&window.item).then_some((*window, taps))
    }
}

/// The functions of the archive linked in.
struct Taps {
    keep: Function,
    take: Function,
    window: Tensor,
    piece: Tensor,
    counts: Tensor,
}

impl Taps {
    /// Those of the archive linked in, which has to have been compiled with taps.
    fn find(prefix: Option<&str>) -> Result<Self, Failure> {
        let open = |prefix| Self::open(&format!("{prefix}taps_"));
        let found = prefix.map(open).transpose().map_err(|e| failed(&e))?.flatten();
        found.ok_or_else(|| Failure::usage("taps were asked for, and the archive has none"))
    }

    fn open(prefix: &str) -> Result<Option<Self>, TvmError> {
        let module = TvmModule::from_system_lib(prefix)?;
        let Some(keep) = module.function("keep")? else { return Ok(None) };
        Ok(Some(Self {
            keep,
            take: module.require("take")?,
            window: Tensor::zeros::<i32>(&[2])?,
            piece: Tensor::from_bytes(ElementType::UInt8, &[PIECE], &vec![0; PIECE])?,
            counts: Tensor::zeros::<i32>(&[2])?,
        }))
    }

    /// Drops what was kept, and keeps the calls from `first` up to `last` from now on.
    fn keep(&mut self, first: i32, last: i32) -> Result<(), Failure> {
        let asked = self.window.write(&[first, last]);
        let asked = asked.and_then(|()| self.keep.call(&[Argument::Tensor(&self.window)]));
        asked.map(|_| ()).map_err(|error| failed(&error))
    }

    /// Records what was kept since [`Taps::keep`], and frees it.
    fn record(
        &mut self,
        workload: &str,
        items: &[String],
        result: &mut ResultFile,
    ) -> Result<(), Failure> {
        for part in 0.. {
            let (count, lost) = self.take().map_err(|error| failed(&error))?;
            if lost > 0 {
                let message = format!("{lost} taps had no room: ask for fewer calls");
                return Err(Failure::model(message));
            }
            if count == 0 {
                break;
            }
            self.piece.set_shape(&[count]).map_err(|error| failed(&error))?;
            let tensors = tensors::record([(NAME, &self.piece)]).map_err(Failure::model)?;
            self.piece.set_shape(&[PIECE]).map_err(|error| failed(&error))?;
            result.write(&Record::Taps { workload, items, part, tensors })?;
        }
        self.keep(0, 0)
    }

    /// Bytes of the next piece, and calls that were lost.
    fn take(&mut self) -> Result<(usize, i32), TvmError> {
        let arguments = &[Argument::InPlace(&mut self.piece), Argument::InPlace(&mut self.counts)];
        self.take.call(arguments)?;
        match self.counts.as_slice::<i32>()? {
            &[count, lost] => Ok((usize::try_from(count).unwrap_or(0), lost)),
            _ => Ok((0, 0)),
        }
    }
}

fn failed(error: &TvmError) -> Failure {
    Failure::model(format!("the archive's taps: {error}"))
}
