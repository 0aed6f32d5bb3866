//! The real library with unrelated models: G2P's, `tests/mobile/scaled_model.py`, and a language model (`test_text.rs`).
//!
//! `tools/test-rust` links them. In a program without them each test is ignored.

use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::thread;

use charsiug2p_mobile::{
    Cancellation, DataType, Failure, MobileError, ModelKind, ModelLibrary, NamedTensor,
    PhonemeListener, Phonemes, Session, SessionOptions,
};
use proptest::prelude::*;

const WORDS: [&str; 3] = ["Char", "siu", "internationalization"];

fn library() -> Arc<ModelLibrary> {
    ModelLibrary::open().unwrap()
}

fn load(model: &str) -> Arc<Session> {
    library().load(model, SessionOptions::default()).unwrap()
}

fn words() -> Vec<String> {
    WORDS.map(str::to_owned).to_vec()
}

/// Rows of three numbers with a factor for each row.
fn inputs(rows: &[([f32; 3], f32)]) -> Vec<NamedTensor> {
    let count = rows.len() as u64;
    let x: Vec<f32> = rows.iter().flat_map(|(row, _)| *row).collect();
    let factors: Vec<f32> = rows.iter().map(|(_, factor)| *factor).collect();
    vec![
        NamedTensor::floats("x", &[count, 3], &x),
        NamedTensor::floats("factor", &[count, 1], &factors),
    ]
}

fn floats(outputs: &[NamedTensor], name: &str) -> Vec<f32> {
    outputs.iter().find(|one| one.name == name).unwrap().to_floats().unwrap()
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn models_and_versions_are_listed() {
    let library = library();
    let models = library.models();
    let found: Vec<_> = models.iter().map(|one| (one.name.as_str(), one.kind)).collect();
    let expected = [
        ("g2p", ModelKind::Words),
        ("tiny_llama", ModelKind::Text),
        ("scaled", ModelKind::Tensors),
    ];
    assert_eq!(found, expected);
    assert_eq!(models[2].outputs, ["scaled", "sums"]);
    let versions = library.versions();
    assert_eq!((versions.library.as_str(), versions.archive_sha256.len()), ("0.1.0", 64));
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn both_models_answer_at_the_same_time() {
    let (words_session, scaled) = (load("g2p"), load("scaled"));
    let expected = words_session.phonemize("eng-us", words(), None).unwrap();
    assert!(expected.iter().all(|one| !one.phonemes.is_empty() && one.nanoseconds > 0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let found = words_session.phonemize("eng-us", words(), None).unwrap();
                for (one, other) in found.iter().zip(&expected) {
                    assert_eq!((one.index, &one.phonemes), (other.index, &other.phonemes));
                }
            });
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut given = inputs(&[([1.0, 2.0, 3.0], 2.0), ([4.0, 5.0, 6.0], 0.5)]);
                    given.reverse();
                    let outputs = scaled.run_inference(given, None).unwrap();
                    assert_eq!(floats(&outputs, "scaled"), [2.0, 4.0, 6.0, 2.0, 2.5, 3.0]);
                    assert_eq!(floats(&outputs, "sums"), [12.0, 7.5]);
                }
            });
        }
    });
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn a_stream_gives_word_after_word_and_can_be_left() {
    let session = load("g2p");
    let expected = session.phonemize("eng-us", words(), None).unwrap();
    let stream = session.stream("eng-us", words(), None).unwrap();
    let found: Vec<Phonemes> = stream.words().map(Result::unwrap).collect();
    assert_eq!(found.len(), WORDS.len());
    for (one, other) in found.iter().zip(&expected) {
        assert_eq!(
            (one.index, &one.word, &one.phonemes),
            (other.index, &other.word, &other.phonemes)
        );
    }
    assert_eq!(stream.next(), Ok(None));
    let many: Vec<String> = words().into_iter().cycle().take(300).collect();
    drop(session.stream("eng-us", many.clone(), None).unwrap());
    let cancellation = Cancellation::new();
    let stream = session.stream("eng-us", many, Some(cancellation.clone())).unwrap();
    assert!(stream.next().unwrap().is_some());
    cancellation.cancel();
    // Whatever was decoded already: one error, and nothing behind it.
    assert_eq!(stream.next(), Err(MobileError::Cancelled));
    assert_eq!(stream.next(), Ok(None));
    // Both streams are gone, and the session answers.
    assert_eq!(session.phonemize("eng-us", words(), None).unwrap().len(), WORDS.len());
}

struct Sent(Sender<Result<Phonemes, Option<Failure>>>, usize);

impl PhonemeListener for Sent {
    fn on_word(&self, word: Phonemes) {
        assert!((word.index as usize) < self.1, "the app's own defect");
        self.0.send(Ok(word)).unwrap();
    }

    fn on_end(&self, failure: Option<Failure>) {
        self.0.send(Err(failure)).unwrap();
    }
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn a_listener_hears_every_word_and_one_end() {
    let session = load("g2p");
    let listen = |limit: usize, cancellation: Option<Arc<Cancellation>>| {
        let (told, heard) = channel();
        session.listen("eng-us", words(), Arc::new(Sent(told, limit)), cancellation).unwrap();
        heard.iter().collect::<Vec<_>>()
    };
    let heard = listen(9, None);
    assert_eq!(heard.len(), WORDS.len() + 1);
    assert_eq!(heard.last(), Some(&Err(None)));
    // A listener that panics is told so, and the session lives on.
    let heard = listen(1, None);
    let Some(Err(Some(failure))) = heard.last() else { panic!("{heard:?}") };
    assert_eq!((heard.len(), failure.code), (2, 21));
    assert!(failure.message.contains("the app's own defect"), "{}", failure.message);
    assert_eq!(listen(9, None).len(), WORDS.len() + 1);
    session.close();
    let (told, _heard) = channel();
    let refused = session.listen("eng-us", words(), Arc::new(Sent(told, 9)), None).unwrap_err();
    assert_eq!(refused.code(), 17);
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn wrong_calls_are_typed_errors() {
    let (library, g2p, scaled) = (library(), load("g2p"), load("scaled"));
    let options = |queue_capacity| SessionOptions { queue_capacity };
    let code = |result: Result<Arc<Session>, MobileError>| result.map(drop).unwrap_err().code();
    assert_eq!(code(library.load("sclaed", options(1))), 4);
    assert_eq!(code(library.load("g2p\0", options(1))), 4);
    for capacity in [0, 1025, u32::MAX] {
        assert_eq!(code(library.load("g2p", options(capacity))), 15);
    }
    let run = |given: Vec<NamedTensor>| scaled.run_inference(given, None).unwrap_err().code();
    let good = inputs(&[([1.0; 3], 1.0)]);
    let changed = |change: &dyn Fn(&mut Vec<NamedTensor>)| {
        let mut given = good.clone();
        change(&mut given);
        run(given)
    };
    assert_eq!(changed(&|given| given[0].name = "y".to_owned()), 10);
    assert_eq!(changed(&|given| drop(given.pop())), 10);
    assert_eq!(changed(&|given| given[0].data_type = DataType::Int32), 11);
    assert_eq!(changed(&|given| given[0].shape = vec![3]), 12);
    assert_eq!(changed(&|given| given[0].shape = vec![2, 3]), 13);
    assert_eq!(changed(&|given| given[1] = NamedTensor::floats("factor", &[2, 1], &[1.0; 2])), 12);
    assert_eq!(changed(&|given| given[0].data.truncate(11)), 13);
    assert_eq!(g2p.run_inference(good, None).unwrap_err().code(), 9);
    assert_eq!(scaled.phonemize("eng-us", words(), None).unwrap_err().code(), 9);
    for (language, word) in [("eng us", "a"), ("xxx", "a"), ("eng-us", ""), ("eng-us", "a\tb")] {
        let error = g2p.phonemize(language, vec![word.to_owned()], None).unwrap_err();
        assert_eq!(error.code(), 14, "{error}");
    }
    let long = vec!["a".to_owned(), "a".repeat(65)];
    assert_eq!(g2p.phonemize("eng-us", long, None).unwrap_err().code(), 14);
    assert_eq!(g2p.phonemize("eng-us", Vec::new(), None), Ok(Vec::new()));
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn metadata_of_another_build_is_refused() {
    let text = include_str!(concat!(env!("OUT_DIR"), "/metadata.json"));
    assert!(ModelLibrary::open_with_metadata(text).is_ok());
    let hash = library().versions().archive_sha256;
    let other = ModelLibrary::open_with_metadata(&text.replace(&hash, &"0".repeat(64)))
        .map(drop)
        .unwrap_err();
    assert_eq!(other, MobileError::OtherBuild { expected: hash, found: "0".repeat(64) });
    let renamed = text.replace("\"scaled_\"", "\"scalde_\"");
    let library = ModelLibrary::open_with_metadata(&renamed).unwrap();
    let missing = library.load("scaled", SessionOptions::default()).map(drop).unwrap_err();
    assert_eq!(missing.code(), 5, "{missing}");
    let needing = text.replace("\"sse4.2\"", "\"third-hand\"");
    assert_eq!(ModelLibrary::open_with_metadata(&needing).map(drop).unwrap_err().code(), 8);
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn memory_is_released_and_comes_back() {
    let library = library();
    let session = library.load("g2p", SessionOptions::default()).unwrap();
    session.warm_up().unwrap();
    let expected = session.phonemize("eng-us", words(), None).unwrap();
    library.release_memory();
    session.release_memory();
    let again = session.phonemize("eng-us", words(), None).unwrap();
    for (one, other) in again.iter().zip(&expected) {
        assert_eq!(one.phonemes, other.phonemes);
    }
    session.close();
    library.release_memory();
    assert_eq!(session.warm_up().unwrap_err().code(), 17);
    assert!(session.is_closed());
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("x".to_owned()), Just("factor".to_owned()), ".{0,4}"]
}

prop_compose! {
    fn tensor()(
        name in name(),
        data_type in prop::sample::select(DataType::ALL.to_vec()),
        shape in prop::collection::vec(prop_oneof![Just(1_u64), Just(3_u64), any::<u64>()], 0..4),
        data in prop::collection::vec(any::<u8>(), 0..40),
    ) -> NamedTensor {
        NamedTensor { name, data_type, shape, data }
    }
}

/// One session for all examples of a property, which is the point: no example may harm the next.
fn shared(model: &str) -> Arc<Session> {
    load(model)
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn any_tensors_are_answered_or_refused() {
    let session = shared("scaled");
    let given = prop::collection::vec(tensor(), 0..4);
    runner(300)
        .run(&given, |given| {
            match session.run_inference(given, None) {
                Ok(outputs) => prop_assert_eq!(outputs.len(), 2),
                Err(error) => prop_assert!((10..=13).contains(&error.code()), "{}", error),
            }
            Ok(())
        })
        .unwrap();
    let rows = prop::collection::vec((prop::array::uniform3(-9.0_f32..9.0), -9.0_f32..9.0), 1..17);
    runner(100)
        .run(&rows, |rows| {
            let outputs = session.run_inference(inputs(&rows), None).unwrap();
            let expected: Vec<f32> =
                rows.iter().flat_map(|(row, factor)| row.map(|value| value * factor)).collect();
            prop_assert_eq!(floats(&outputs, "scaled"), expected);
            Ok(())
        })
        .unwrap();
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn any_words_are_answered_or_refused() {
    let session = shared("g2p");
    let words = prop::collection::vec(".{0,12}", 0..3);
    let language = prop_oneof![3 => Just("eng-us".to_owned()), 1 => ".{0,8}"];
    runner(40)
        .run(&(language, words), |(language, words)| {
            let count = words.len();
            match session.phonemize(&language, words, None) {
                Ok(found) => prop_assert_eq!(found.len(), count),
                Err(error) => prop_assert_eq!(error.code(), 14, "{}", error),
            }
            Ok(())
        })
        .unwrap();
}

#[test]
#[cfg_attr(not(test_models), ignore = "link the models: see tools/test-rust")]
fn any_name_of_a_model_and_any_queue_are_answered_or_refused() {
    let library = library();
    runner(200)
        .run(&(".{0,8}", any::<u32>()), |(name, queue_capacity)| {
            let refused = library.load(&name, SessionOptions { queue_capacity });
            prop_assert_eq!(refused.map(drop).unwrap_err().code(), 4);
            Ok(())
        })
        .unwrap();
}

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
}
