//! What one core can do at most: read memory, multiply and add. Measured by compiled kernels that do nothing else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use charsiug2p_g2p_tvm::{Argument, Function, Tensor, TvmError, TvmModule};

/// Bytes: from what a core's own caches hold to beyond the last one.
const WORKING_SETS: [usize; 6] = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
/// A call takes at least so long, so that what surrounds it does not count.
const LEAST: Duration = Duration::from_millis(4);
/// Calls of that length. The fastest counts: a disturbance can only make one slower.
const TRIES: usize = 5;

/// The kernels, and the sizes of their tensors.
pub struct Roofline {
    read: Function,
    multiply_add: Function,
    dot: Option<Function>,
    /// Floats of a row that is read.
    columns: usize,
    lanes: usize,
    /// Independent sums.
    chains: usize,
    /// Products a lane of an integer dot product.
    per_lane: usize,
}

impl Roofline {
    pub fn open(module: &TvmModule) -> Result<Self, TvmError> {
        let mut sizes = Tensor::zeros::<i32>(&[4])?;
        module.require("shapes")?.call(&[Argument::InPlace(&mut sizes)])?;
        let reported = sizes.as_slice::<i32>()?;
        let size =
            |at: usize| reported.get(at).map_or(0, |&size| usize::try_from(size).unwrap_or(0));
        Ok(Self {
            read: module.require("read")?,
            multiply_add: module.require("multiply_add")?,
            dot: module.function("dot")?,
            columns: size(0).max(1),
            lanes: size(1).max(1),
            chains: size(2),
            per_lane: size(3),
        })
    }

    /// Bytes a second by working set in bytes.
    pub fn bandwidth(&self) -> Result<BTreeMap<usize, f64>, TvmError> {
        let mut sums = Tensor::zeros::<f32>(&[self.columns])?;
        let mut found = BTreeMap::new();
        for bytes in WORKING_SETS {
            let rows = bytes / (4 * self.columns);
            let mut x = Tensor::zeros::<f32>(&[rows, self.columns])?;
            // Pages that nobody wrote to are all one page.
            x.as_mut_slice::<f32>()?.fill(1.0);
            let rate = fastest(rows * self.columns * 4, |passes| {
                let passes = Tensor::from_slice(&[1], &[passes])?;
                self.read.call(&[
                    Argument::Tensor(&x),
                    Argument::Tensor(&passes),
                    Argument::InPlace(&mut sums),
                ])
            })?;
            found.insert(bytes, rate);
        }
        Ok(found)
    }

    /// Operations a second, a multiply-add being two: of float32, and of the integers that int8 weights meet.
    pub fn flops(&self) -> Result<BTreeMap<&'static str, f64>, TvmError> {
        let per_repeat = 2 * self.chains * self.lanes;
        let factors = Tensor::from_slice(&[2, self.lanes], &vec![0.5_f32; 2 * self.lanes])?;
        let mut sums = Tensor::zeros::<f32>(&[self.chains, self.lanes])?;
        let mut found = BTreeMap::new();
        let rate =
            fastest(per_repeat, |repeats| chain(&self.multiply_add, &factors, repeats, &mut sums))?;
        found.insert("float32", rate);
        if let Some(dot) = &self.dot {
            let words =
                Tensor::from_slice(&[2, self.lanes], &vec![0x0003_0003_i32; 2 * self.lanes])?;
            let mut sums = Tensor::zeros::<i32>(&[self.chains, self.lanes])?;
            let rate = fastest(per_repeat * self.per_lane, |repeats| {
                chain(dot, &words, repeats, &mut sums)
            })?;
            found.insert("int8", rate);
        }
        Ok(found)
    }
}

fn chain(
    function: &Function,
    factors: &Tensor,
    repeats: i32,
    sums: &mut Tensor,
) -> Result<charsiug2p_g2p_tvm::Value, TvmError> {
    let repeats = Tensor::from_slice(&[1], &[repeats])?;
    function.call(&[Argument::Tensor(factors), Argument::Tensor(&repeats), Argument::InPlace(sums)])
}

/// `amount` per second of one repetition, in the fastest of calls with as many as take long enough.
#[allow(clippy::cast_precision_loss)] // an amount of megabytes
fn fastest<T>(
    amount: usize,
    mut call: impl FnMut(i32) -> Result<T, TvmError>,
) -> Result<f64, TvmError> {
    let mut timed = |repeats: i32| {
        let started = Instant::now();
        call(repeats).map(|_| started.elapsed())
    };
    let mut repeats = 1_i32;
    while timed(repeats)? < LEAST && repeats < i32::MAX / 4 {
        repeats *= 2;
    }
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        best = best.min(timed(repeats)?);
    }
    Ok(amount as f64 * f64::from(repeats) / best.as_secs_f64().max(1e-9))
}
