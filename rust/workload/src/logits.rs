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
