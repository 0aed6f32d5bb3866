use super::chance::{exp, SplitMix64};
use super::*;

fn sampler(change: impl FnOnce(&mut SamplingOptions), vocab_size: usize) -> Sampler {
    let mut options = SamplingOptions::default();
    change(&mut options);
    Sampler::new(options, vocab_size).unwrap()
}

#[test]
fn the_generator_is_splitmix64() {
    // The values that its author's program gives for this seed.
    let mut random = SplitMix64::new(1_234_567);
    let found: Vec<u64> = (0..5).map(|_| random.next()).collect();
    assert_eq!(
        found,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ]
    );
    assert!((0..1000).map(|_| random.fraction()).all(|one| (0.0..1.0).contains(&one)));
}

#[test]
fn the_exponential_function_is_that_of_mathematics() {
    for step in 0..70_800 {
        let x = -f64::from(step) / 100.0;
        let (found, expected) = (exp(x), x.exp());
        assert!((found / expected - 1.0).abs() < 5e-16, "{x}: {found:e}, {expected:e}");
    }
    assert_eq!((exp(0.0).to_bits(), exp(-1e9).to_bits()), (1.0_f64.to_bits(), 0));
    assert_eq!(exp(f64::NEG_INFINITY).to_bits(), 0);
}

#[test]
fn tokens_come_as_often_as_they_are_probable() {
    let logits = [1.0_f32, 0.0, -1.0, f32::NEG_INFINITY, 2.0];
    let mut sampler = sampler(|options| options.seed = 7, 5);
    let total: f64 = logits.iter().map(|&one| f64::from(one).exp()).sum();
    let draws = 200_000;
    let mut counts = [0_u32; 5];
    for _ in 0..draws {
        counts[usize::try_from(sampler.choose(&logits).unwrap()).unwrap()] += 1;
    }
    for (&logit, &count) in logits.iter().zip(&counts) {
        let share = f64::from(logit).exp() / total;
        let deviation = (share * (1.0 - share) / f64::from(draws)).sqrt();
        let found = f64::from(count) / f64::from(draws);
        assert!((found - share).abs() <= 5.0 * deviation, "{found} of {share}");
    }
    assert_eq!(counts[3], 0);
}

#[test]
fn a_seed_gives_the_same_tokens_again_and_another_seed_others() {
    let logits: Vec<f32> = (0_u8..100).map(|one| f32::from(one % 7)).collect();
    let draw = |sampler: &mut Sampler| -> Vec<i32> {
        sampler.begin(&[1, 2]);
        (0..50).map(|_| sampler.choose(&logits).unwrap()).collect()
    };
    let (mut one, mut other) = (sampler(|o| o.seed = 1, 100), sampler(|o| o.seed = 2, 100));
    let first = draw(&mut one);
    assert_eq!(draw(&mut one), first);
    assert_eq!(draw(&mut one.clone()), first);
    assert_ne!(draw(&mut other), first);
    // Known on every machine.
    assert_eq!(first[..8], EXPECTED);
}

/// The first tokens of seed 1, as a program in Python draws them (`tests/models/test_language_sampling.py`).
const EXPECTED: [i32; 8] = [55, 76, 97, 47, 47, 76, 89, 54];

#[test]
fn a_low_temperature_is_greedy_and_a_single_token_is_certain() {
    let logits = [0.1_f32, 0.3, 0.2];
    for change in [
        |o: &mut SamplingOptions| o.temperature = 1e-4,
        |o: &mut SamplingOptions| o.top_k = 1,
        |o: &mut SamplingOptions| o.top_p = 0.0,
        |o: &mut SamplingOptions| o.min_p = 1.0,
    ] {
        let mut sampler = sampler(change, 3);
        assert!((0..100).all(|_| sampler.choose(&logits) == Ok(1)));
    }
}

#[test]
fn what_no_token_can_be_drawn_from_is_an_error() {
    let mut two = sampler(|_| (), 2);
    assert!(matches!(two.choose(&[0.0, f32::NAN]), Err(BadLogits::Value(one)) if one.is_nan()));
    assert_eq!(two.choose(&[f32::INFINITY, 0.0]), Err(BadLogits::Value(f32::INFINITY)));
    assert_eq!(two.choose(&[f32::NEG_INFINITY; 2]), Err(BadLogits::Nothing));
    assert_eq!(two.choose(&[0.0; 3]), Err(BadLogits::Count(3)));
    assert_eq!(sampler(|_| (), 0).choose(&[]), Err(BadLogits::Nothing));
    // A score may also leave the numbers on its way.
    let mut cold = sampler(|options| options.temperature = 1e-30, 2);
    assert_eq!(cold.choose(&[1e30, 0.0]), Err(BadLogits::Value(f32::INFINITY)));
    assert_eq!(cold.choose(&[-1e30, 0.0]), Ok(1));
}

#[test]
fn options_outside_of_their_limits_are_refused() {
    let refused = |change: fn(&mut SamplingOptions)| {
        let mut options = SamplingOptions::default();
        change(&mut options);
        Sampler::new(options, 2).unwrap_err()
    };
    for wrong in [
        |o: &mut SamplingOptions| o.temperature = 0.0,
        |o: &mut SamplingOptions| o.temperature = -1.0,
        |o: &mut SamplingOptions| o.temperature = f64::NAN,
        |o: &mut SamplingOptions| o.temperature = 1e300,
    ] {
        assert!(refused(wrong).contains("temperature is"));
    }
    assert!(refused(|o| o.repetition_penalty = f64::INFINITY).contains("repetition_penalty is inf"));
    assert!(refused(|o| o.top_p = 1.1).contains("top_p is 1.1, it must be from 0 to 1"));
    assert!(refused(|o| o.min_p = -0.1).contains("min_p is -0.1"));
    assert!(refused(|o| o.min_p = f64::NAN).contains("min_p is NaN"));
}

#[test]
fn tokens_outside_of_the_vocabulary_are_of_no_text() {
    let mut one = sampler(|options| options.repetition_penalty = 2.0, 2);
    one.begin(&[-1, 7, 1]);
    assert_eq!(one.process(&[1.0, 1.0]), Ok(&[1.0, 0.5][..]));
    one.begin(&[0]);
    assert_eq!(one.process(&[-1.0, 1.0]), Ok(&[-2.0, 1.0][..]));
}

#[test]
fn top_p_sorts_as_many_as_it_needs() {
    // All alike: half of them together have half of the probability, far more than are sorted at once.
    let logits = vec![0.5_f32; 4096];
    let mut half = sampler(|options| options.top_p = 0.5, 4096);
    let scores = half.process(&logits).unwrap();
    assert_eq!(scores.iter().filter(|score| score.is_finite()).count(), 2048);
}

#[test]
fn the_best_token_is_the_first_of_equal_ones_and_a_penalty_changes_it() {
    let mut plain = sampler(|_| (), 3);
    plain.begin(&[1]);
    assert_eq!(plain.choose_best(&[0.5, 2.0, 2.0]), Ok(1));
    assert_eq!(plain.choose_best(&[f32::NEG_INFINITY, -1.0, -2.0]), Ok(1));
    assert_eq!(plain.choose_best(&[f32::NEG_INFINITY; 3]), Err(BadLogits::Nothing));
    let mut penalized = sampler(|options| options.repetition_penalty = 4.0, 3);
    penalized.begin(&[1]);
    assert_eq!(penalized.choose_best(&[0.5, 2.0, 1.0]), Ok(2));
    // Now it is in the text, too.
    assert_eq!(penalized.choose_best(&[0.6, 2.0, 1.0]), Ok(0));
}
