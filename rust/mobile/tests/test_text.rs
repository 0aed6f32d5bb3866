//! The real library with a small language model, `random:tiny-llama`, which has no tokenizer.
//!
//! `tools/test-rust` links it. In a program without it each test is ignored.

use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;

use charsiug2p_mobile::{
    Cancellation, Conversation, Failure, Generation, GenerationEnd, GenerationOptions, MobileError,
    ModelKind, ModelLibrary, NamedTensor, Piece, PromptPart, Session, SessionOptions, TextListener,
};
use proptest::prelude::*;

const MODEL: &str = "tiny_llama";

fn load(model: &str) -> Arc<Session> {
    ModelLibrary::open().unwrap().load(model, SessionOptions::default()).unwrap()
}

fn tokens(tokens: &[i32]) -> Vec<PromptPart> {
    vec![PromptPart::Tokens { tokens: tokens.to_vec() }]
}

fn most(max_tokens: u32) -> GenerationOptions {
    GenerationOptions { max_tokens, ..GenerationOptions::default() }
}

fn answer(session: &Session, prompt: &[i32], max_tokens: u32) -> Generation {
    session.generate(tokens(prompt), most(max_tokens), None, None).unwrap()
}

/// Any tokens, the same each time.
fn prompt(count: i32, start: i32) -> Vec<i32> {
    (0..count).map(|at| (start + at * 37) % 256).collect()
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn the_model_is_listed() {
    let library = ModelLibrary::open().unwrap();
    let models = library.models();
    let model = models.iter().find(|one| one.name == MODEL).unwrap();
    assert_eq!(model.kind, ModelKind::Text);
    assert_eq!((model.vocab_size, model.context_tokens, model.has_tokenizer), (256, 192, false));
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn a_conversation_is_as_one_long_prompt_and_reads_only_what_is_new() {
    let session = load(MODEL);
    let (one, other) = (session.conversation().unwrap(), session.conversation().unwrap());
    let talk = |conversation: &Arc<Conversation>, prompt: &[i32], count| {
        session.generate(tokens(prompt), most(count), Some(conversation.clone()), None).unwrap()
    };
    let first = talk(&one, &prompt(40, 3), 20);
    assert_eq!((first.prompt_tokens, first.read_tokens, first.tokens.len()), (40, 40, 20));
    assert_eq!((first.ended, first.text.as_str()), (GenerationEnd::Length, ""));
    assert!(first.first_token_nanoseconds > 0);
    assert!(first.nanoseconds > first.first_token_nanoseconds);
    assert_eq!(first.tokens, answer(&session, &prompt(40, 3), 20).tokens);
    // Another conversation and a prompt of its own do not disturb it.
    talk(&other, &prompt(9, 100), 5);
    let second = talk(&one, &prompt(7, 50), 30);
    // The last token of the answer was not read before.
    assert_eq!((second.prompt_tokens, second.read_tokens), (67, 8));
    let whole = [prompt(40, 3), first.tokens.clone(), prompt(7, 50)].concat();
    assert_eq!(second.tokens, answer(&session, &whole, 30).tokens);
    let all = [whole, second.tokens.clone()].concat();
    assert_eq!(one.tokens(), all);
    // Memory is released, and nothing but time is lost.
    session.release_memory();
    let third = talk(&one, &[1, 2], 10);
    assert_eq!((third.prompt_tokens, third.read_tokens), (99, 99));
    assert_eq!(third.tokens, answer(&session, &[all, vec![1, 2]].concat(), 10).tokens);
    // Without a prompt an answer goes on.
    let longer = talk(&other, &[], 5);
    let expected = answer(&session, &prompt(9, 100), 10).tokens;
    assert_eq!(longer.tokens, expected[5..]);
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn a_stream_gives_token_after_token_and_can_be_left() {
    let session = load(MODEL);
    let expected = answer(&session, &prompt(5, 1), 12);
    let conversation = session.conversation().unwrap();
    let stream = |count, cancellation| {
        let (given, talk) = (tokens(&prompt(5, 1)), Some(conversation.clone()));
        session.stream_text(given, most(count), talk, cancellation).unwrap()
    };
    let found = stream(12, None);
    let pieces: Vec<Piece> = found.pieces().map(Result::unwrap).collect();
    assert!(pieces.iter().all(|piece| piece.tokens.len() == 1 && piece.text.is_empty()));
    let told: Vec<i32> = pieces.into_iter().flat_map(|piece| piece.tokens).collect();
    assert_eq!(told, expected.tokens);
    let whole = found.generation().unwrap();
    assert_eq!((whole.tokens, whole.ended), (told, GenerationEnd::Length));
    assert_eq!(found.next(), Ok(None));

    let before = conversation.tokens().len();
    let cancellation = Cancellation::new();
    let found = stream(100, Some(cancellation.clone()));
    let first = found.next().unwrap().unwrap();
    cancellation.cancel();
    assert_eq!(found.next(), Err(MobileError::Cancelled));
    assert_eq!((found.next(), found.generation()), (Ok(None), None));
    // The prompt and what was decoded stay. The call ends before another one begins.
    session.warm_up().unwrap();
    let kept = conversation.tokens();
    assert!(kept.len() > before + 5 && kept.len() < before + 30, "{}", kept.len());
    assert_eq!(kept[before + 5], first.tokens[0]);
    let next = session.generate(tokens(&[7]), most(6), Some(conversation.clone()), None).unwrap();
    let whole = [kept, vec![7]].concat();
    assert_eq!(next.tokens, answer(&session, &whole, 6).tokens);
    // A stream that nobody takes from makes the model wait, until it is dropped.
    drop(stream(100, None));
    assert_eq!(answer(&session, &prompt(5, 1), 12).tokens, expected.tokens);
    let found = stream(100, None);
    session.close();
    assert_eq!(found.pieces().last().unwrap().unwrap_err().code(), 17);
}

struct Ear(Sender<Piece>, Sender<(Option<Generation>, Option<Failure>)>, usize);

impl TextListener for Ear {
    fn on_piece(&self, piece: Piece) {
        assert_ne!(piece.tokens.len(), self.2, "the app's own defect");
        self.0.send(piece).unwrap();
    }

    fn on_end(&self, generation: Option<Generation>, failure: Option<Failure>) {
        self.1.send((generation, failure)).unwrap();
    }
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn a_listener_hears_every_token_and_one_end() {
    let session = load(MODEL);
    let listen = |prompt: &[i32], defect| {
        let ((told, heard), (ended, end)) = (channel(), channel());
        let listener = Arc::new(Ear(told, ended, defect));
        session.listen_to_text(tokens(prompt), most(9), listener, None, None).unwrap();
        (
            heard.iter().flat_map(|piece| piece.tokens).collect::<Vec<_>>(),
            end.iter().collect::<Vec<_>>(),
        )
    };
    let (heard, end) = listen(&[1, 2, 3], 0);
    let expected = answer(&session, &[1, 2, 3], 9).tokens;
    assert_eq!((&heard, end.len()), (&expected, 1));
    assert_eq!(end[0].0.as_ref().unwrap().tokens, expected);
    let (heard, end) = listen(&[], 0);
    let failure = end[0].1.as_ref().unwrap();
    assert_eq!((heard.len(), end.len(), failure.code), (0, 1, 23));
    let (heard, end) = listen(&[1, 2, 3], 1);
    assert_eq!((heard.len(), end[0].1.as_ref().unwrap().code), (0, 21));
    assert_eq!(listen(&[1, 2, 3], 0).0, expected, "the session lives on");
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn ten_thousand_tokens_end_with_the_context() {
    let session = load(MODEL);
    let found = answer(&session, &prompt(10, 9), 10_000);
    assert_eq!((found.tokens.len(), found.ended), (182, GenerationEnd::ContextFull));
    let conversation = session.conversation().unwrap();
    let talk = |prompt: &[i32], count| {
        session.generate(tokens(prompt), most(count), Some(conversation.clone()), None)
    };
    talk(&prompt(100, 9), 91).unwrap();
    let full = MobileError::ContextFull { tokens: 192, context: 192 };
    assert_eq!(talk(&[1], 1).unwrap_err(), full);
    assert_eq!(conversation.tokens().len(), 191, "what is refused is not kept");
    assert_eq!(talk(&[], 5).unwrap().ended, GenerationEnd::ContextFull);
    assert_eq!(talk(&[], 5).unwrap_err(), full);
    assert_eq!(session.generate(tokens(&prompt(192, 1)), most(1), None, None).unwrap_err(), full);
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn the_same_seed_draws_the_same_tokens() {
    let session = load(MODEL);
    let drawn = |seed, temperature| {
        let options = GenerationOptions { seed, temperature, top_k: 50, top_p: 0.9, ..most(40) };
        session.generate(tokens(&prompt(5, 1)), options, None, None).unwrap().tokens
    };
    assert_eq!(drawn(1, 1.0), drawn(1, 1.0));
    assert_ne!(drawn(1, 1.0), drawn(2, 1.0));
    assert_eq!(drawn(1, 0.0), answer(&session, &prompt(5, 1), 40).tokens);
    let options = GenerationOptions { repetition_penalty: 1e6, ..most(40) };
    let mut varied = session.generate(tokens(&[1]), options, None, None).unwrap().tokens;
    varied.sort_unstable();
    varied.dedup();
    assert_eq!(varied.len(), 40, "a penalty without chance: no token comes again");
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn wrong_calls_are_typed_errors() {
    let (session, other, scaled) = (load(MODEL), load(MODEL), load("scaled"));
    let code =
        |prompt: Vec<PromptPart>| session.generate(prompt, most(1), None, None).unwrap_err().code();
    assert_eq!(code(Vec::new()), 23);
    assert_eq!(code(tokens(&[])), 23);
    assert_eq!(code(tokens(&[5, 256])), 23);
    assert_eq!(code(tokens(&[-1])), 23);
    assert_eq!(code(vec![PromptPart::Text { text: "Char".to_owned() }]), 23);
    assert_eq!(code(vec![PromptPart::Special { name: "<s>".to_owned() }]), 23);
    assert_eq!(code(tokens(&prompt(193, 1))), 24);
    let option = |change: &dyn Fn(&mut GenerationOptions)| {
        let mut options = most(1);
        change(&mut options);
        session.generate(tokens(&[1]), options, None, None).unwrap_err()
    };
    for (name, error) in [
        ("max_tokens", option(&|options| options.max_tokens = 0)),
        ("max_tokens", option(&|options| options.max_tokens = u32::MAX)),
        ("temperature", option(&|options| options.temperature = -0.5)),
        ("temperature", option(&|options| options.temperature = f64::NAN)),
        ("top_p", option(&|options| options.top_p = 1.5)),
        ("min_p", option(&|options| options.min_p = -0.5)),
        ("repetition_penalty", option(&|options| options.repetition_penalty = 0.0)),
        ("stop_strings", option(&|options| options.stop_strings = vec!["a".to_owned()])),
    ] {
        assert_eq!(error.code(), 15, "{error}");
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let elsewhere = other.conversation().unwrap();
    let refused = session.generate(tokens(&[1]), most(1), Some(elsewhere), None).unwrap_err();
    assert_eq!(refused.code(), 25, "{refused}");
    assert_eq!(scaled.generate(tokens(&[1]), most(1), None, None).unwrap_err().code(), 9);
    assert_eq!(scaled.conversation().map(drop).unwrap_err().code(), 9);
    let input = vec![NamedTensor::floats("x", &[1], &[1.0])];
    assert_eq!(session.run_inference(input, None).unwrap_err().code(), 9);
    assert_eq!(session.phonemize("eng-us", Vec::new(), None).unwrap_err().code(), 9);
    session.close();
    assert_eq!(session.generate(tokens(&[1]), most(1), None, None).unwrap_err().code(), 17);
    assert_eq!(session.conversation().map(drop).unwrap_err().code(), 17);
}

prop_compose! {
    fn options()(
        max_tokens in prop_oneof![4 => 0_u32..40, 1 => any::<u32>()],
        temperature in prop_oneof![Just(0.0), 0.0..3.0, any::<f64>()],
        top_k in prop_oneof![0_u32..300, any::<u32>()],
        top_p in prop_oneof![0.0..1.0, any::<f64>()],
        min_p in prop_oneof![0.0..1.0, any::<f64>()],
        repetition_penalty in prop_oneof![0.5..2.0, any::<f64>()],
        seed in any::<u64>(),
    ) -> GenerationOptions {
        let stop_strings = Vec::new();
        GenerationOptions {
            max_tokens, stop_strings, temperature, top_k, top_p, min_p, repetition_penalty, seed,
        }
    }
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn any_prompt_is_answered_or_refused() {
    let session = load(MODEL);
    let conversation = session.conversation().unwrap();
    let token = prop_oneof![9 => 0_i32..256, 1 => any::<i32>()];
    let parts = prop_oneof![
        4 => prop::collection::vec(token, 0..30).prop_map(|tokens| PromptPart::Tokens { tokens }),
        1 => ".{0,8}".prop_map(|text| PromptPart::Text { text }),
        1 => ".{0,8}".prop_map(|name| PromptPart::Special { name }),
    ];
    let cases = (prop::collection::vec(parts, 0..3), options(), any::<bool>());
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&cases, |(prompt, options, talk)| {
            let most = options.max_tokens as usize;
            let talk = talk.then(|| conversation.clone());
            match session.generate(prompt, options, talk, None) {
                Ok(found) => prop_assert!(found.tokens.len() <= most),
                Err(error) => prop_assert!([15, 20, 23, 24].contains(&error.code()), "{}", error),
            }
            Ok(())
        })
        .unwrap();
    let kept = conversation.tokens();
    assert!(kept.len() <= 192 && kept.iter().all(|token| (0..256).contains(token)));
}
