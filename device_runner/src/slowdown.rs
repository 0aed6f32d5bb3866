//! A test switch: calls that take longer than they need to, to see whether the gate finds it.

use std::hint;
use std::time::{Duration, Instant};

use charsiug2p_workload::{nanoseconds, Failure, Measured};

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

    /// For the header, which leaves out what was not asked for.
    pub fn percent(self) -> Option<f64> {
        (self.percent > 0.0).then_some(self.percent)
    }

    /// Burns the share of a call's time, and adds what that took: of each of its parts, and of what is between them.
    /// The call itself is over by then, so that it runs as it always does.
    pub fn burn(self, measured: &mut Measured) {
        let Some(percent) = self.percent() else { return };
        let inside: u64 = measured.parts.values().flatten().sum();
        let mut between = measured.total_ns.saturating_sub(inside);
        let started = Instant::now();
        for part in measured.parts.values_mut().flatten().chain([&mut between]) {
            *part += nanoseconds(spin(Duration::from_nanos(*part).mul_f64(percent / 100.0)));
        }
        measured.total_ns += nanoseconds(started.elapsed());
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
    use std::collections::BTreeMap;

    use super::*;

    fn measured() -> Measured {
        let parts = BTreeMap::from([("encoder", vec![4_000_000]), ("step", vec![3_000_000, 1])]);
        Measured { total_ns: 12_000_000, parts, ..Measured::default() }
    }

    #[test]
    fn every_part_gets_its_share_and_the_whole_gets_all_of_them() {
        let (mut slowed, whole) = (measured(), measured());
        Slowdown::new(50.0).unwrap().burn(&mut slowed);
        let parts = |of: &Measured| of.parts.values().flatten().copied().collect::<Vec<_>>();
        for (after, before) in parts(&slowed).into_iter().zip(parts(&whole)) {
            assert!(after >= before + before / 2, "{after} {before}");
        }
        assert!(slowed.total_ns >= whole.total_ns + whole.total_ns / 2);
        assert!(parts(&slowed).into_iter().sum::<u64>() <= slowed.total_ns);
    }

    #[test]
    fn a_call_without_parts_gets_its_share() {
        let mut slowed = Measured { total_ns: 4_000_000, ..Measured::default() };
        Slowdown::new(50.0).unwrap().burn(&mut slowed);
        assert!(slowed.total_ns >= 6_000_000, "{slowed:?}");
    }

    #[test]
    fn nothing_is_burned_unless_it_was_asked_for() {
        let mut same = measured();
        Slowdown::default().burn(&mut same);
        assert_eq!(same, measured());
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for percent in [-1.0, 1000.5, f64::NAN, f64::INFINITY] {
            assert!(Slowdown::new(percent).is_err(), "{percent}");
        }
    }
}
