//! Answers cases of sampling, for tests that compare it with transformers (`tests/models/test_language_sampling.py`).
//!
//! A case is a line of JSON with `logits` (the bits of float32), `text` (token ids), `options`, and how many tokens to
//! `draw`. Its answer is a line with the processed `scores` and the `tokens`, or with an `error`.

use std::io::{self, BufRead, Write};

use charsiug2p_workload::{Sampler, SamplingOptions};
use serde::Deserialize;
use serde_json::{json, Value};

#[derive(Deserialize)]
struct Case {
    logits: Vec<u32>,
    text: Vec<i32>,
    options: SamplingOptions,
    draw: usize,
}

fn answer(case: &Case) -> Result<Value, String> {
    let logits: Vec<f32> = case.logits.iter().copied().map(f32::from_bits).collect();
    let mut sampler = Sampler::new(case.options, logits.len())?;
    sampler.begin(&case.text);
    let scores = sampler.process(&logits).map_err(|error| error.to_string())?;
    let scores: Vec<u32> = scores.iter().map(|score| score.to_bits()).collect();
    let tokens = (0..case.draw).map(|_| sampler.choose(&logits).map_err(|error| error.to_string()));
    let tokens = tokens.collect::<Result<Vec<i32>, String>>()?;
    Ok(json!({"scores": scores, "tokens": tokens}))
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let case: Case = serde_json::from_str(&line?)?;
        let answer = answer(&case).unwrap_or_else(|error| json!({"error": error}));
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
