//! Random numbers and an exponential function that are the same on every machine.

use std::f64::consts::LOG2_E;

/// The generator SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number; each of 64 bits is as likely 0 as 1.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number from 0 to below 1, of 53 bits.
    #[allow(clippy::cast_precision_loss)] // 53 bits are exact.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// ln 2 in two parts. The first has so few digits that its products with small whole numbers are exact.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
/// The terms of the series: for |x| ≤ ln 2 / 2 the next one is below 1e-17.
const TERMS: u32 = 13;
/// Below this, the result would not be a normal number.
const LEAST: f64 = -708.0;

/// e to the power of a number up to 0; 0 for one below -708.
///
/// C libraries round it each in their own way. These are additions, multiplications and divisions, which IEEE 754
/// defines to the last bit.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The exponent is from -1022 to 0.
pub fn exp(x: f64) -> f64 {
    if x < LEAST {
        return 0.0;
    }
    let exponent = (x * LOG2_E).round();
    let rest = (x - exponent * LN_2[0]) - exponent * LN_2[1];
    let series = (1..=TERMS).rev().fold(1.0, |sum, term| 1.0 + sum * rest / f64::from(term));
    series * f64::from_bits(((exponent as i64 + 1023) as u64) << 52)
}
