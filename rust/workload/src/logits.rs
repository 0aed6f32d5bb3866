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

/// How much less probable the softmax of `logits` makes the tokens of another distribution than that distribution does:
/// its Kullback-Leibler divergence in nats. The other distribution is known at some `tokens` by the natural logarithms of
/// their probabilities; the last logarithm is that of all other tokens together, which are compared as one.
///
/// Tokens taken as one cannot make a divergence larger, so this is a lower bound of that of the whole distributions, and
/// equals it where no token is left out. None for tokens outside of the logits, and where they are not finite.
#[must_use]
pub fn divergence(logits: &[f32], tokens: &[i32], logarithms: &[f32]) -> Option<f32> {
    let (&rest, known) =
        logarithms.split_last().filter(|(_, known)| known.len() == tokens.len())?;
    let best = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total: f64 = logits.iter().map(|&logit| (f64::from(logit) - best).exp()).sum();
    let (mut found, mut left) = (0.0, total);
    for (&token, &logarithm) in tokens.iter().zip(known) {
        let logit = f64::from(*logits.get(usize::try_from(token).ok()?)?) - best;
        let logarithm = f64::from(logarithm);
        left -= logit.exp();
        found += share(logarithm, logit - total.ln());
    }
    // What rounding leaves of a sum of nearly all of it is noise.
    found += share(f64::from(rest), (left / total).max(f64::EPSILON).ln());
    #[allow(clippy::cast_possible_truncation)] // A record holds float32.
    let found = found as f32;
    // Rounding may put nothing below zero.
    found.is_finite().then_some(found.max(0.0))
}

/// What one outcome adds to a divergence, by the logarithms of its two probabilities.
fn share(expected: f64, found: f64) -> f64 {
    let probability = expected.exp();
    if probability > 0.0 {
        probability * (expected - found)
    } else {
        0.0
    }
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

#[cfg(test)]
mod tests {
    use super::divergence;

    #[test]
    fn a_divergence_is_that_of_its_definition() {
        let (logits, expected) = ([0.5_f32, -1.0, 2.0, 0.0], [0.1_f64, 0.2, 0.3, 0.4]);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let found: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp() / sum).collect();
        let whole: f64 = expected.iter().zip(&found).map(|(p, q)| p * (p / q).ln()).sum();
        #[allow(clippy::cast_possible_truncation)]
        let log = |value: f64| value.ln() as f32;
        let logs = expected.map(log);
        let all = [logs[3], logs[0], logs[1], logs[2], f32::NEG_INFINITY];
        let ours = divergence(&logits, &[3, 0, 1, 2], &all).unwrap();
        assert!((f64::from(ours) - whole).abs() < 1e-6, "{ours} {whole}");
        // Two tokens as one.
        let ours = divergence(&logits, &[3, 2], &[logs[3], logs[2], log(0.3)]).unwrap();
        let rest = 0.3 * (0.3 / (found[0] + found[1])).ln();
        let parts = [3, 2].map(|at: usize| expected[at] * (expected[at] / found[at]).ln());
        assert!((f64::from(ours) - parts.iter().sum::<f64>() - rest).abs() < 1e-6);
        assert!(f64::from(ours) < whole);
    }

    #[test]
    fn a_distribution_does_not_diverge_from_itself() {
        let logits = [1.0_f32, 1.0];
        let half = 0.5_f32.ln();
        assert!(divergence(&logits, &[0, 1], &[half, half, -1e4]).unwrap() < 1e-6);
        assert!(divergence(&logits, &[0], &[half, half]).unwrap() < 1e-6);
    }

    #[test]
    fn what_is_not_known_has_no_divergence() {
        assert_eq!(divergence(&[0.0; 2], &[2], &[0.0, 0.0]), None);
        assert_eq!(divergence(&[0.0; 2], &[-1], &[0.0, 0.0]), None);
        assert_eq!(divergence(&[0.0; 2], &[0], &[0.0]), None);
        assert_eq!(divergence(&[0.0; 2], &[], &[]), None);
        assert_eq!(divergence(&[f32::NAN, 0.0], &[0], &[-1.0, -1.0]), None);
        assert_eq!(divergence(&[f32::NEG_INFINITY, 0.0], &[0], &[-1.0, -1.0]), None);
    }
}
