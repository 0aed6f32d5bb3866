//! The loop against a decoder that follows a script.

use std::time::Duration;

use charsiug2p_g2p_tvm::TvmError;
use charsiug2p_workload::{Output, ProbeOptions};
use proptest::prelude::*;

use super::{best, decode, BadStep, Steps, Word};
use crate::config::{CacheDtype, ModelConfig, Precision};
use crate::error::PipelineError;

const START: i32 = 0;
const EOS: i32 = 1;
const VOCAB: usize = 12;

fn config(batch_size: usize, max_output_len: usize) -> ModelConfig {
    ModelConfig {
        use_kv_cache: false,
        batch_size,
        max_input_bytes: 8,
        max_output_len,
        vocab_size: VOCAB,
        decoder_start_token_id: START,
        eos_token_id: EOS,
        self_cache_shape: None,
        self_cache_dtype: CacheDtype::Float32,
        precision: Precision::Fp32,
    }
}

/// Answers with each row's tokens of a script, and notes what it was asked.
#[derive(Default)]
struct Script {
    tokens: Vec<Vec<i32>>,
    /// Position, tokens and rows of every step.
    asked: Vec<(usize, Vec<i32>, Vec<i32>)>,
    /// `[b, VOCAB]` of the last step.
    logits: Vec<Vec<f32>>,
}

impl Script {
    fn new(tokens: &[Vec<i32>]) -> Self {
        Self { tokens: tokens.to_vec(), ..Self::default() }
    }

    fn run(&mut self, max_output_len: usize) -> Vec<Output> {
        let prompts = vec!["p"; self.tokens.len()];
        let config = config(prompts.len(), max_output_len);
        let probe = ProbeOptions { margins: true, logit_steps: vec![0] };
        let mut times = Vec::new();
        let outputs = decode(self, &prompts, &config, &probe, &mut times).unwrap();
        assert_eq!(times.len(), self.asked.len());
        outputs
    }
}

impl Steps for Script {
    fn step(
        &mut self,
        position: usize,
        tokens: &mut [i32],
        rows: &[i32],
    ) -> Result<Duration, TvmError> {
        self.asked.push((position, tokens.to_vec(), rows.to_vec()));
        self.logits.clear();
        for (token, &row) in tokens.iter_mut().zip(rows) {
            let row = usize::try_from(row).unwrap();
            *token = self.tokens[row][position];
            // A word's own margin, so that logits of another slot would show.
            let mut logits = vec![0.0; VOCAB];
            if let Some(logit) = logits.get_mut(usize::try_from(*token).unwrap()) {
                *logit = margin(row);
            }
            self.logits.push(logits);
        }
        Ok(Duration::from_nanos(1))
    }

    fn logits(&self, slot: usize) -> Result<&[f32], TvmError> {
        self.logits.get(slot).map(Vec::as_slice).ok_or(TvmError::Layout("no such slot"))
    }
}

fn margin(row: usize) -> f32 {
    f32::from(u8::try_from(row).unwrap()) + 1.0
}

/// A word of so many tokens, the end token included, that differs from others.
fn word(row: usize, length: usize) -> Vec<i32> {
    let mut tokens = vec![i32::try_from(row % 8).unwrap() + 2; length];
    *tokens.last_mut().unwrap() = EOS;
    tokens
}

/// Rows of every step.
fn rows_of(lengths: &[usize], max_output_len: usize) -> Vec<Vec<i32>> {
    let words: Vec<_> = lengths.iter().enumerate().map(|(row, &n)| word(row, n)).collect();
    let mut script = Script::new(&words);
    script.run(max_output_len);
    script.asked.into_iter().map(|(_, _, rows)| rows).collect()
}

#[test]
fn words_that_finish_together_leave_no_step_behind() {
    assert_eq!(rows_of(&[2, 2, 2], 9), [[0, 1, 2], [0, 1, 2]]);
    assert_eq!(rows_of(&[1], 9), [[0]]);
}

#[test]
fn the_last_row_takes_the_place_of_a_finished_one() {
    assert_eq!(rows_of(&[1, 3, 2], 9), [vec![0, 1, 2], vec![2, 1], vec![1]]);
    assert_eq!(rows_of(&[2, 3, 1], 9), [vec![0, 1, 2], vec![0, 1], vec![1]]);
    assert_eq!(rows_of(&[3, 1, 1], 9), [vec![0, 1, 2], vec![0], vec![0]]);
}

#[test]
fn a_word_without_an_end_stops_at_the_maximum() {
    assert_eq!(rows_of(&[5, 1], 3), [vec![0, 1], vec![0], vec![0]]);
}

proptest! {
    #[test]
    fn every_step_is_of_the_unfinished_words_and_their_own_tokens(
        lengths in prop::collection::vec(1_usize..8, 1..9), max_output_len in 1_usize..8,
    ) {
        let words: Vec<_> = lengths.iter().enumerate().map(|(row, &n)| word(row, n)).collect();
        let mut script = Script::new(&words);
        let outputs = script.run(max_output_len);
        for (row, (output, word)) in outputs.iter().zip(&words).enumerate() {
            let expected = &word[..word.len().min(max_output_len)];
            prop_assert_eq!(&output.token_ids, expected);
            prop_assert_eq!(output.margins.as_ref().unwrap(), &vec![margin(row); expected.len()]);
            prop_assert!(output.logits.as_ref().unwrap().keys().eq(&[0]));
        }
        let longest = lengths.iter().copied().max().unwrap_or(0).min(max_output_len);
        prop_assert_eq!(script.asked.len(), longest);
        for (at, (position, tokens, rows)) in script.asked.iter().enumerate() {
            prop_assert_eq!(*position, at);
            prop_assert_eq!(tokens.len(), rows.len());
            for (&token, &row) in tokens.iter().zip(rows) {
                let word = &words[usize::try_from(row).unwrap()];
                prop_assert_eq!(token, if at == 0 { START } else { word[at - 1] });
            }
            let mut rows = rows.clone();
            rows.sort_unstable();
            let unfinished = (0_i32..).zip(&lengths).filter(|(_, &length)| length > at);
            prop_assert_eq!(rows, unfinished.map(|(row, _)| row).collect::<Vec<_>>());
        }
    }
}

#[test]
fn an_error_names_the_step_and_the_word() {
    let mut script = Script::new(&[word(0, 1), vec![5, 99, EOS]]);
    let probe = ProbeOptions::default();
    let error = decode(&mut script, &["a", "b"], &config(2, 5), &probe, &mut Vec::new());
    let (step, prompt) = (1, "b".to_owned());
    let expected = PipelineError::NoToken { step, prompt, token: 99, vocab_size: VOCAB };
    assert_eq!(error.unwrap_err(), expected);
}

fn advance(logits: &[f32], token: i32, margins: bool) -> Result<Word, BadStep> {
    let probe = ProbeOptions { margins, logit_steps: Vec::new() };
    let config = config(1, 4);
    let mut word = Word::new(&config, &probe);
    word.advance(token, logits, &config, &probe).map(|_| word)
}

#[test]
fn the_first_of_equal_logits_wins() {
    for (logits, token, margin) in [
        (&[0.0, 2.0, 2.0, 1.0][..], 1, 0.0),
        (&[3.0, 2.0, 2.5], 0, 0.5),
        (&[-3.0, -2.0, -2.5], 1, 0.5),
        (&[7.0], 0, 0.0),
    ] {
        assert_eq!(best(logits), token);
        assert_eq!(advance(logits, token, true).unwrap().margins.unwrap(), [margin]);
    }
    assert!(advance(&[0.0, 2.0, 2.0, 1.0], 2, true).is_ok(), "the second of equals is as good");
}

#[test]
fn what_is_recorded_is_finite() {
    let far = [f32::MAX, f32::MIN];
    assert_eq!(advance(&far, 0, true).unwrap().margins.unwrap(), [f32::MAX]);
    let probe = ProbeOptions { margins: false, logit_steps: vec![0] };
    let config = config(1, 4);
    for bad in [f32::NAN, f32::NEG_INFINITY] {
        let mut word = Word::new(&config, &probe);
        let found = word.advance(0, &[1.0, bad], &config, &probe);
        assert!(matches!(found, Err(BadStep::NotFinite(_))));
    }
}

#[test]
fn answers_that_cannot_be_are_errors() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(matches!(advance(&[0.0, bad], 1, false), Err(BadStep::NotFinite(_))));
        assert!(matches!(advance(&[0.0, bad], 0, true), Err(BadStep::NotFinite(_))));
    }
    assert_eq!(best(&[f32::NAN, f32::NAN]), 0);
    for token in [-1, 2, i32::MIN, i32::MAX] {
        assert!(matches!(advance(&[0.0, 1.0], token, false), Err(BadStep::NoToken(_))));
    }
    assert!(matches!(advance(&[0.0, 1.0], 0, true), Err(BadStep::NotBest(0))));
    for bad in [BadStep::NotFinite(f32::NAN), BadStep::NoToken(-1), BadStep::NotBest(0)] {
        assert_eq!(bad.describe(2, "prompt", &config(1, 4)).answered(), Some("prompt"));
    }
    assert_eq!(PipelineError::BatchSize { given: 2, batch_size: 1 }.answered(), None);
}
