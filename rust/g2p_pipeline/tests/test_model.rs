//! The linked model itself.

use std::{env, fs};

use charsiug2p_g2p_core::Language;
use charsiug2p_g2p_pipeline::{ArtifactResolver, PipelineError, ProbeOptions, Session};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    words: Vec<ExpectedWord>,
}

#[derive(Deserialize)]
struct ExpectedWord {
    language: String,
    word: String,
    token_ids: Vec<i32>,
}

const WORDS: [&str; 5] = ["Char", "siu", "internationalization", "Straße", "a"];

fn session() -> (Session, Vec<String>) {
    let metadata = ArtifactResolver::new().resolve().unwrap().metadata;
    let session = Session::from_metadata(&metadata).unwrap();
    let language = Language::new("eng-us", None).unwrap();
    let format = metadata.prompt_format();
    let prompts = WORDS.iter().map(|word| format.prompt(&language, word).unwrap()).collect();
    (session, prompts)
}

/// PyTorch's answers, written by `tools/write_expected.py`.
#[test]
#[cfg_attr(
    not(all(g2p_tvm_model, g2p_test_expected)),
    ignore = "set G2P_TVM_SYSTEM_LIB to a model archive and G2P_TEST_EXPECTED to its checkpoint's \
              answers; see docs/rust.md"
)]
fn token_ids_equal_the_reference() {
    let text = fs::read_to_string(env::var("G2P_TEST_EXPECTED").unwrap()).unwrap();
    let expected: Expected = serde_json::from_str(&text).unwrap();
    assert!(!expected.words.is_empty());
    let metadata = ArtifactResolver::new().resolve().unwrap().metadata;
    let mut session = Session::from_metadata(&metadata).unwrap();
    let format = metadata.prompt_format();
    let prompts: Vec<String> = expected
        .words
        .iter()
        .map(|word| format.prompt(&Language::new(&word.language, None).unwrap(), &word.word))
        .collect::<Result<_, _>>()
        .unwrap();
    let outputs = session.run_all(&prompts).unwrap();
    assert_eq!(outputs.len(), prompts.len());
    for (word, output) in expected.words.iter().zip(outputs) {
        assert_eq!(output.token_ids, word.token_ids, "{} {}", word.language, word.word);
    }
}

#[test]
#[cfg_attr(not(g2p_tvm_model), ignore = "set G2P_TVM_SYSTEM_LIB to a model archive")]
fn a_word_does_not_depend_on_its_neighbours() {
    let (mut session, prompts) = session();
    let together = session.run_all(&prompts).unwrap();
    assert_eq!(together.len(), prompts.len());
    for (prompt, expected) in prompts.iter().zip(&together).rev() {
        let alone = session.run(&[prompt], &ProbeOptions::default()).unwrap();
        assert_eq!(alone.outputs[0].token_ids, expected.token_ids, "{prompt}");
    }
}

/// Every number of rows from a full batch to one, after every other.
#[test]
#[cfg_attr(not(g2p_tvm_model), ignore = "set G2P_TVM_SYSTEM_LIB to a model archive")]
fn a_batch_of_any_size_answers_as_each_word_alone_and_takes_the_longest_words_steps() {
    let (mut session, prompts) = session();
    let probe = ProbeOptions { margins: true, logit_steps: vec![0] };
    let alone: Vec<_> = prompts
        .iter()
        .map(|prompt| session.run(&[prompt], &probe).unwrap().outputs.remove(0))
        .collect();
    for words in (1..=prompts.len().min(session.config().batch_size)).rev().chain([1]) {
        for (batch, expected) in prompts.windows(words).zip(alone.windows(words)) {
            let result = session.run(batch, &probe).unwrap();
            assert_eq!(result.outputs.len(), words);
            for (output, expected) in result.outputs.iter().zip(expected) {
                assert_eq!(output.token_ids, expected.token_ids);
                assert_eq!(output.text, expected.text);
                let margins = output.margins.iter().flatten();
                for (margin, expected) in margins.zip(expected.margins.iter().flatten()) {
                    assert!((margin - expected).abs() < 0.05, "{margin} {expected}");
                }
            }
            let longest = expected.iter().map(|output| output.token_ids.len()).max().unwrap();
            assert_eq!(result.timings.steps.len(), longest);
        }
    }
}

#[test]
#[cfg_attr(not(g2p_tvm_model), ignore = "set G2P_TVM_SYSTEM_LIB to a model archive")]
fn probes_and_timings_have_the_shape_of_the_output() {
    let (mut session, prompts) = session();
    let (vocab, longest) = (session.config().vocab_size, session.config().max_output_len);
    let probe = ProbeOptions { margins: true, logit_steps: vec![0, 1, longest + 5] };
    let plain = session.run(&prompts[..1], &ProbeOptions::default()).unwrap();
    let probed = session.run(&prompts[..1], &probe).unwrap();
    let (plain, output) = (&plain.outputs[0], &probed.outputs[0]);
    assert_eq!(plain.token_ids, output.token_ids);
    assert!(plain.margins.is_none() && plain.logits.is_none());
    let margins = output.margins.as_ref().unwrap();
    assert_eq!(margins.len(), output.token_ids.len());
    assert!(margins.iter().all(|&margin| margin >= 0.0));
    let logits = output.logits.as_ref().unwrap();
    assert!(logits.keys().all(|&step| step < output.token_ids.len()) && logits.contains_key(&0));
    for (&step, logits) in logits {
        assert_eq!(logits.len(), vocab);
        let token = usize::try_from(output.token_ids[step]).unwrap();
        assert!(logits.iter().all(|&logit| logit <= logits[token]));
    }
    let timings = probed.timings;
    assert_eq!(timings.steps.len(), output.token_ids.len());
    let parts = timings.encoder
        + timings.prefill.unwrap_or_default()
        + timings.steps.iter().sum::<std::time::Duration>();
    assert!(timings.encoder.as_nanos() > 0 && parts <= timings.total);
}

#[test]
#[cfg_attr(not(g2p_tvm_model), ignore = "set G2P_TVM_SYSTEM_LIB to a model archive")]
fn batches_and_prompts_that_do_not_fit_are_refused() {
    let (mut session, prompts) = session();
    let (batch_size, limit) = (session.config().batch_size, session.config().max_input_bytes);
    let probe = ProbeOptions::default();
    for given in [0, batch_size + 1] {
        let batch = vec![prompts[0].clone(); given];
        let error = session.run(&batch, &probe).unwrap_err();
        assert_eq!(error, PipelineError::BatchSize { given, batch_size });
    }
    for size in [0, limit + 1] {
        let prompt = "a".repeat(size);
        let error = session.run(&[&prompt], &probe).unwrap_err();
        assert_eq!(error, PipelineError::PromptSize { prompt, size, limit });
    }
    let longest = "a".repeat(limit);
    assert!(session.run(&[longest], &probe).is_ok());
}
