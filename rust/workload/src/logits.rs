//! What a greedy loop looks for in a step's logits.

/// The best logit and the second best, which is minus infinity where there is one only.
///
/// # Errors
/// The first logit that is not finite.
pub fn top_two(logits: &[f32]) -> Result<(f32, f32), f32> {
    let (mut best, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &logit in logits {
        if !logit.is_finite() {
            return Err(logit);
        }
        if logit > best {
            (best, second) = (logit, best);
        } else if logit > second {
            second = logit;
        }
    }
    Ok((best, second))
}

/// The natural logarithm of the softmax of `logits` at `index`, summed in float64. None outside the logits, or where
/// they are not finite.
#[must_use]
pub fn log_probability(logits: &[f32], index: usize) -> Option<f32> {
    let chosen = f64::from(*logits.get(index)?);
    let best = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - best).exp()).sum();
    let found = chosen - best - sum.ln();
    #[allow(clippy::cast_possible_truncation)] // A record holds float32.
    let found = found as f32;
    found.is_finite().then_some(found)
}

/// How far the best logit is above the second best: 0 where nothing competes, and never more than a float32 can be,
/// because a record holds numbers.
#[must_use]
pub fn margin(best: f32, second: f32) -> f32 {
    if second.is_finite() {
        (best - second).min(f32::MAX)
    } else {
        0.0
    }
}
