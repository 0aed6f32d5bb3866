//! A test switch: calls that take longer than they need to, to see whether the gate finds it.

use std::hint;
use std::time::{Duration, Instant};

use charsiug2p_g2p_pipeline::Timings;

use crate::failure::Failure;

/// The most that an order may ask for.
const MAX_PERCENT: f64 = 1000.0;

/// By how much every call is made longer; none unless an order asks for it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Slowdown {
    percent: f64,
}

impl Slowdown {
    pub fn new(percent: f64) -> Result<Self, Failure> {
        if (0.0..=MAX_PERCENT).contains(&percent) {
            Ok(Self { percent })
        } else {
            Err(Failure::usage(format!("slowdown_percent has to be between 0 and {MAX_PERCENT}")))
        }
    }

    /// For the header, which says nothing of what was not asked for.
    pub fn percent(self) -> Option<f64> {
        (self.percent > 0.0).then_some(self.percent)
    }

    /// Burns the share of every call's time, and adds what that took: of the encoder, the prefill,
    /// each step, and what lies between them. The calls themselves are over by then, so that they
    /// run as they always do.
    pub fn burn(self, timings: &mut Timings) {
        let Some(percent) = self.percent() else { return };
        let calls: Duration = timings.steps.iter().sum::<Duration>()
            + timings.encoder
            + timings.prefill.unwrap_or_default();
        let mut between = timings.total.saturating_sub(calls);
        let started = Instant::now();
        let parts = [&mut timings.encoder, &mut between];
        for part in parts.into_iter().chain(&mut timings.prefill).chain(&mut timings.steps) {
            *part += spin(part.mul_f64(percent / 100.0));
        }
        timings.total += started.elapsed();
    }

    /// The same of a single call.
    pub fn stretch(self, took: Duration) -> Duration {
        self.percent().map_or(took, |percent| took + spin(took.mul_f64(percent / 100.0)))
    }
}

/// Keeps the processor busy without touching memory; the time that it took.
fn spin(wanted: Duration) -> Duration {
    let started = Instant::now();
    loop {
        let elapsed = started.elapsed();
        if elapsed >= wanted {
            return elapsed;
        }
        hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings() -> Timings {
        let ms = Duration::from_millis;
        Timings { encoder: ms(4), prefill: Some(ms(2)), steps: vec![ms(3), ms(1)], total: ms(12) }
    }

    #[test]
    fn every_part_gets_its_share_and_the_whole_gets_all_of_them() {
        let mut slowed = timings();
        Slowdown::new(50.0).unwrap().burn(&mut slowed);
        let whole = timings();
        let parts = |found: &Timings| {
            let mut parts = vec![found.encoder, found.prefill.unwrap()];
            parts.extend(&found.steps);
            parts
        };
        for (after, before) in parts(&slowed).into_iter().zip(parts(&whole)) {
            assert!(after >= before.mul_f64(1.5), "{after:?} {before:?}");
        }
        assert!(slowed.total >= whole.total.mul_f64(1.5));
        assert!(parts(&slowed).into_iter().sum::<Duration>() <= slowed.total);
    }

    #[test]
    fn a_single_call_gets_its_share() {
        let took = Duration::from_millis(4);
        assert!(Slowdown::new(50.0).unwrap().stretch(took) >= Duration::from_millis(6));
        assert_eq!(Slowdown::default().stretch(took), took);
    }

    #[test]
    fn nothing_is_burned_unless_it_was_asked_for() {
        let mut same = timings();
        Slowdown::default().burn(&mut same);
        assert_eq!((same.total, same.encoder), (timings().total, timings().encoder));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for percent in [-1.0, 1000.5, f64::NAN, f64::INFINITY] {
            assert!(Slowdown::new(percent).is_err(), "{percent}");
        }
    }
}
