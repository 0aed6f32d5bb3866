//! Which prompts share a batch.

/// Indices of prompts of these lengths, in batches: short ones first, so that a batch's prompts are
/// padded little, and equally long ones as they came. With a batch size of 1 all as they came.
///
/// # Examples
/// ```
/// use charsiug2p_g2p_pipeline::group_by_length;
/// assert_eq!(group_by_length(&[9, 2, 9, 3], 2), [[1, 3], [0, 2]]);
/// assert_eq!(group_by_length(&[9, 2], 1), [[0], [1]]);
/// ```
#[must_use]
pub fn group_by_length(lengths: &[usize], batch_size: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    if batch_size > 1 {
        order.sort_by_key(|&index| lengths[index]);
    }
    order.chunks(batch_size.max(1)).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_prompt_is_in_one_batch_with_its_like(
            lengths in prop::collection::vec(1_usize..8, 0..40), batch_size in 1_usize..6,
        ) {
            let batches = group_by_length(&lengths, batch_size);
            let (last, full) = batches.split_last().map_or((0, &[][..]), |(l, f)| (l.len(), f));
            prop_assert!(full.iter().all(|batch| batch.len() == batch_size) && last <= batch_size);
            let order: Vec<usize> = batches.concat();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..lengths.len()).collect::<Vec<_>>());
            for pair in order.windows(2) {
                let keys = [pair[0], pair[1]].map(|index| {
                    (if batch_size > 1 { lengths[index] } else { 0 }, index)
                });
                prop_assert!(keys[0] < keys[1], "{:?}", pair);
            }
        }
    }
}
