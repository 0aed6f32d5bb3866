use charsiug2p_workload::{Sampler, SamplingOptions};

use super::*;

const VOCABULARY: usize = 11;

/// Answers by all tokens that its cache holds, so that a token that is left out or read twice changes what follows.
struct Fake {
    cache: Vec<i32>,
    capacity: usize,
    filled: usize,
    read: Vec<usize>,
    logits: Vec<f32>,
    fails_at: usize,
}

impl Fake {
    fn new(capacity: usize) -> Self {
        let logits = vec![0.0; VOCABULARY];
        let cache = vec![-1; capacity];
        Self { cache, capacity, filled: 0, read: Vec::new(), logits, fails_at: usize::MAX }
    }
}

impl Model for Fake {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn block(&self) -> usize {
        4
    }

    fn filled(&self) -> usize {
        self.filled
    }

    fn fill_to(&mut self, tokens: usize) {
        self.filled = tokens;
    }

    fn prefill(&mut self, block: &[i32], first: usize) -> Result<(), BadStep> {
        self.read.push(block.len());
        self.cache[first..first + block.len()].copy_from_slice(block);
        Ok(())
    }

    fn step(&mut self, token: i32, position: usize) -> Result<i32, BadStep> {
        if position == self.fails_at {
            return Err(BadStep::NotFinite { step: 0, value: f32::NAN });
        }
        self.cache[position] = token;
        // What is behind the position is never looked at, as in a model.
        let sum = self.cache[..=position].iter().fold(7_u64, |sum, &one| {
            (sum * 31).wrapping_add(u64::try_from(one).unwrap()) % 1_000_003
        });
        let best = usize::try_from(sum).unwrap() % VOCABULARY;
        self.logits.fill(0.0);
        self.logits[best] = 1.0;
        self.logits[(best + 1) % VOCABULARY] = 0.9;
        Ok(i32::try_from(best).unwrap())
    }

    fn logits(&self) -> Result<&[f32], BadStep> {
        Ok(&self.logits)
    }
}

/// Hears the tokens, and leaves after so many questions or tokens.
#[derive(Default)]
struct Ear {
    tokens: Vec<i32>,
    asked: usize,
    most_asked: Option<usize>,
    most_tokens: Option<usize>,
}

impl Listener for Ear {
    fn goes_on(&mut self) -> bool {
        self.asked += 1;
        self.most_asked.is_none_or(|most| self.asked <= most)
    }

    fn token(&mut self, token: i32) -> ControlFlow<()> {
        self.tokens.push(token);
        if self.most_tokens == Some(self.tokens.len()) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn plan(most: usize) -> Plan<'static> {
    Plan { most, stop_tokens: &[] }
}

fn run(model: &mut Fake, text: &mut Vec<i32>, most: usize) -> Result<Ended, BadStep> {
    generate(model, text, &plan(most), &mut Choice::Best, &mut Ear::default())
}

#[test]
fn a_text_that_goes_on_is_as_one_that_is_read_at_once() {
    let (mut model, mut text) = (Fake::new(100), vec![1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(run(&mut model, &mut text, 5).unwrap(), Ended::Length);
    assert_eq!((text.len(), model.filled), (12, 11));
    text.extend([9, 8, 7]);
    model.read.clear();
    assert_eq!(run(&mut model, &mut text, 4).unwrap(), Ended::Length);
    // The last token of the answer, and two of the three new ones; the third is the first step's.
    assert_eq!(model.read, [3]);
    let mut whole = text[..15].to_vec();
    let mut fresh = Fake::new(100);
    run(&mut fresh, &mut whole, 4).unwrap();
    assert_eq!(whole, text);
    assert_eq!(fresh.read, [4, 4, 4, 2]);
    // Without a new token the answer goes on.
    let mut longer = text[..15].to_vec();
    run(&mut Fake::new(100), &mut longer, 10).unwrap();
    run(&mut model, &mut text, 6).unwrap();
    assert_eq!(text, longer);
}

#[test]
fn an_empty_text_and_a_full_one_are_refused() {
    let empty = run(&mut Fake::new(4), &mut Vec::new(), 1).unwrap_err();
    assert!(matches!(empty, BadStep::Empty), "{empty}");
    for size in [4, 5] {
        let full = run(&mut Fake::new(4), &mut vec![1; size], 1).unwrap_err();
        assert!(matches!(full, BadStep::Full { capacity: 4, .. }), "{full}");
    }
    let mut one = vec![1; 3];
    assert_eq!(run(&mut Fake::new(4), &mut one, 1).unwrap(), Ended::Length);
    assert_eq!(one.len(), 4);
}

#[test]
fn ten_thousand_steps_end_with_the_context_or_with_their_number() {
    let (mut model, mut text) = (Fake::new(500), vec![3, 1]);
    assert_eq!(run(&mut model, &mut text, 10_000).unwrap(), Ended::ContextFull);
    assert_eq!(text.len(), 500);
    let (mut model, mut text) = (Fake::new(10_002), vec![3, 1]);
    assert_eq!(run(&mut model, &mut text, 10_000).unwrap(), Ended::Length);
    assert_eq!(text.len(), 10_002);
    assert!(text[2..].iter().collect::<std::collections::BTreeSet<_>>().len() > 8);
}

#[test]
fn a_stop_token_is_the_last_and_is_not_told() {
    let mut free = vec![1, 2];
    run(&mut Fake::new(50), &mut free, 20).unwrap();
    let stop = free[7];
    let at = free[2..].iter().position(|&one| one == stop).unwrap() + 2;
    let (mut text, mut ear) = (vec![1, 2], Ear::default());
    let plan = Plan { most: 20, stop_tokens: &[stop] };
    let ended =
        generate(&mut Fake::new(50), &mut text, &plan, &mut Choice::Best, &mut ear).unwrap();
    assert_eq!((ended, text.as_slice()), (Ended::StopToken, &free[..=at]));
    assert_eq!(ear.tokens, free[2..at]);
}

#[test]
fn a_listener_that_leaves_keeps_what_it_heard() {
    let mut free = vec![1, 2, 3, 4, 5, 6];
    run(&mut Fake::new(50), &mut free, 9).unwrap();
    // Two blocks and two steps are asked about before.
    for (most_asked, most_tokens, left) in
        [(Some(1), None, 6), (Some(4), None, 8), (None, Some(3), 9)]
    {
        let (mut model, mut text) = (Fake::new(50), vec![1, 2, 3, 4, 5, 6]);
        let mut ear = Ear { most_asked, most_tokens, ..Ear::default() };
        let ended = generate(&mut model, &mut text, &plan(9), &mut Choice::Best, &mut ear);
        assert_eq!((ended.unwrap(), text.as_slice()), (Ended::Left, &free[..left]));
        assert_eq!(ear.tokens, free[6..left]);
        let rest = free.len() - text.len();
        run(&mut model, &mut text, rest).unwrap();
        assert_eq!(text, free, "and continues from there");
    }
}

#[test]
fn what_fails_leaves_a_cache_that_says_what_it_holds() {
    let (mut model, mut text) = (Fake::new(50), vec![1, 2, 3, 4, 5, 6]);
    model.fails_at = 8;
    assert!(run(&mut model, &mut text, 9).is_err());
    assert_eq!((text.len(), model.filled), (9, 8));
    model.fails_at = usize::MAX;
    let mut free = vec![1, 2, 3, 4, 5, 6];
    run(&mut Fake::new(50), &mut free, 9).unwrap();
    run(&mut model, &mut text, 6).unwrap();
    assert_eq!(text, free);
}

#[test]
fn a_token_is_chosen_by_the_model_by_scores_or_by_chance() {
    let sampler = |options| Sampler::new(options, VOCABULARY).unwrap();
    let chosen = |choice: &mut Choice<'_>| {
        let mut text = vec![1, 2];
        generate(&mut Fake::new(50), &mut text, &plan(30), choice, &mut Ear::default()).unwrap();
        text
    };
    let best = chosen(&mut Choice::Best);
    let mut plain = sampler(SamplingOptions::default());
    assert_eq!(chosen(&mut Choice::BestScore(&mut plain)), best);
    let options = SamplingOptions { repetition_penalty: 1e9, ..SamplingOptions::default() };
    let mut penalized = sampler(options);
    let varied = chosen(&mut Choice::BestScore(&mut penalized));
    // Every token is taken once before one of them is taken again.
    let mut first: Vec<i32> = varied[..4].to_vec();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), 4, "{varied:?}");
    let drawn = |seed| {
        let mut sampler = sampler(SamplingOptions { seed, ..SamplingOptions::default() });
        chosen(&mut Choice::Drawn(&mut sampler))
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
}

#[test]
fn logits_that_are_no_answer_are_errors() {
    let mut choice = Choice::Best;
    for (best, logits, reason) in [
        (3, [0.0; 3], "outside the vocabulary"),
        (-1, [0.0; 3], "outside the vocabulary"),
        (0, [f32::NAN, 0.0, 0.0], "hold NaN"),
    ] {
        let error = choice.next(5, best, &logits).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("step 5"), "{error}");
    }
    let mut sampler = Sampler::new(SamplingOptions::default(), 3).unwrap();
    let error = Choice::Drawn(&mut sampler).next(2, 0, &[f32::NAN; 3]).unwrap_err().to_string();
    assert!(error.starts_with("no token can be drawn at step 2"), "{error}");
}
