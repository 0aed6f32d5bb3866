use std::ptr::{null, null_mut};

use proptest::prelude::*;

use super::free::*;
use super::text::*;
use super::*;

/// One of each error, by which the numbers of the header are held to those of the crate.
fn errors() -> Vec<(Code, MobileError)> {
    let text = || "m".to_owned();
    let list = Vec::new;
    vec![
        (Code::NotLinked, MobileError::NotLinked { message: text() }),
        (Code::BadMetadata, MobileError::BadMetadata { message: text() }),
        (Code::OtherBuild, MobileError::OtherBuild { expected: text(), found: text() }),
        (Code::UnknownModel, MobileError::UnknownModel { name: text(), known: list() }),
        (Code::ModelMissing, MobileError::ModelMissing { model: text(), message: text() }),
        (Code::CorruptModel, MobileError::CorruptModel { model: text(), message: text() }),
        (Code::OutOfMemory, MobileError::OutOfMemory { message: text() }),
        (Code::UnsupportedCpu, MobileError::UnsupportedCpu { missing: list() }),
        (Code::WrongKind, MobileError::WrongKind { model: text(), takes: text() }),
        (Code::WrongInputs, MobileError::WrongInputs { expected: list(), found: list() }),
        (
            Code::WrongType,
            MobileError::WrongType { input: text(), expected: text(), found: text() },
        ),
        (
            Code::WrongShape,
            MobileError::WrongShape { input: text(), expected: text(), found: Vec::new() },
        ),
        (Code::WrongSize, MobileError::WrongSize { input: text(), expected: 0, found: 0 }),
        (Code::BadWord, MobileError::BadWord { message: text() }),
        (Code::BadOption, MobileError::BadOption { name: text(), allowed: text(), found: text() }),
        (Code::BadArgument, MobileError::BadArgument { message: text() }),
        (Code::Closed, MobileError::Closed { model: text() }),
        (Code::Cancelled, MobileError::Cancelled),
        (Code::QueueFull, MobileError::QueueFull { capacity: 0 }),
        (Code::ModelFailed, MobileError::ModelFailed { model: text(), message: text() }),
        (Code::Panic, MobileError::Panic { message: text() }),
        (Code::NotTested, MobileError::NotTested { message: text() }),
        (Code::BadPrompt, MobileError::BadPrompt { message: text() }),
        (Code::ContextFull, MobileError::ContextFull { tokens: 0, context: 0 }),
        (Code::OtherConversation, MobileError::OtherConversation { of: text(), model: text() }),
    ]
}

#[test]
fn numbers_are_those_of_the_header() {
    for (code, error) in errors() {
        assert_eq!(code as i32, error.code());
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(errors().len(), Code::OtherConversation as usize);
    let elements = [
        Element::Float64,
        Element::Float32,
        Element::Float16,
        Element::Int64,
        Element::Int32,
        Element::Int16,
        Element::Int8,
        Element::Uint8,
        Element::Bool,
    ];
    assert_eq!(elements.len(), DataType::ALL.len());
    for (element, data_type) in elements.into_iter().zip(DataType::ALL) {
        assert_eq!(DataType::ALL[element as usize], data_type);
        assert_eq!(format!("{element:?}").to_lowercase(), data_type.to_string());
    }
}

/// The message of a call, freed.
fn told(call: impl FnOnce(*mut *mut c_char) -> i32) -> (i32, String) {
    let mut message = null_mut();
    let code = call(&raw mut message);
    // SAFETY: a text of this library's, or null, which is freed once.
    let found = unsafe {
        let found = text(message, "message").map(str::to_owned);
        charsiug2p_free_text(message);
        found
    };
    (code, found.unwrap_or_default())
}

#[test]
fn null_everywhere_is_an_error_or_nothing() {
    let bad = Code::BadArgument as i32;
    // SAFETY: every pointer is null, which each function allows.
    unsafe {
        let mut json = null_mut();
        let found = told(|message| charsiug2p_describe(null(), &raw mut json, message));
        assert_eq!((found, json.is_null()), ((bad, "library is null".to_owned()), true));
        assert_eq!(told(|message| charsiug2p_load(null(), null(), 1, null_mut(), message)).0, bad);
        assert_eq!(
            told(|message| charsiug2p_run(null(), null(), 3, null(), null_mut(), message)).0,
            bad
        );
        let phonemize =
            |message| charsiug2p_phonemize(null(), null(), null(), 3, null(), null_mut(), message);
        assert_eq!(told(phonemize).0, bad);
        let stream = |message| {
            charsiug2p_stream(null(), null(), null(), 3, null(), None, null_mut(), message)
        };
        assert_eq!(told(stream).0, bad);
        assert_eq!(told(|message| charsiug2p_warm_up(null(), message)).0, bad);
        let conversation = |message| charsiug2p_conversation(null(), null_mut(), message);
        assert_eq!(told(conversation).0, bad);
        let generate = |message| {
            let (user, out) = (null_mut(), null_mut());
            let (parts, options, talk) = (null(), null(), null());
            charsiug2p_generate(null(), parts, 2, options, talk, null(), None, user, out, message)
        };
        assert_eq!(told(generate), (bad, "session is null".to_owned()));
        let get = |message| charsiug2p_generation_get(null(), null_mut(), message);
        assert_eq!(told(get).0, bad);
        charsiug2p_generation_defaults(null_mut());
        assert_eq!(told(|message| charsiug2p_tensors_get(null(), 0, null_mut(), message)).0, bad);
        assert_eq!(charsiug2p_warm_up(null(), null_mut()), bad, "the message may be null, too");
        assert_eq!(charsiug2p_tensors_count(null()), 0);
        assert!(charsiug2p_phonemes_get(null(), 0).is_null());
        charsiug2p_release_memory(null());
        charsiug2p_close(null());
        charsiug2p_cancel(null());
        charsiug2p_free_library(null_mut());
        charsiug2p_free_session(null_mut());
        charsiug2p_free_cancellation(null_mut());
        charsiug2p_free_tensors(null_mut());
        charsiug2p_free_phonemes(null_mut());
        charsiug2p_free_conversation(null_mut());
        charsiug2p_free_generation(null_mut());
        charsiug2p_free_text(null_mut());
    }
}

#[test]
fn a_panic_becomes_a_code() {
    let (code, message) =
        told(|message| answer(message, || std::panic::resume_unwind(Box::new("half done"))));
    assert_eq!(code, Code::Panic as i32);
    assert!(message.contains("half done"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_as_metadata_are_refused(mut bytes in prop::collection::vec(1_u8.., 0..64)) {
        bytes.push(0);
        let mut library = null_mut();
        // SAFETY: the text ends in a NUL.
        let (code, message) =
            told(|message| unsafe { charsiug2p_open(bytes.as_ptr().cast(), &raw mut library, message) });
        prop_assert!(library.is_null() && !message.is_empty());
        prop_assert!(code == Code::BadArgument as i32 || code == Code::BadMetadata as i32, "{}", message);
    }

    #[test]
    fn any_view_is_read_or_refused(
        name in prop::option::of("[a-z]{0,4}"), element in any::<i32>(), small in 0..12_i32, wild in any::<bool>(),
        shape in prop::option::of(prop::collection::vec(any::<u64>(), 0..4)), rank in 0_usize..4,
        data in prop::option::of(prop::collection::vec(any::<u8>(), 0..16)), huge in any::<bool>(),
    ) {
        let element = if wild { element } else { small };
        let text = name.as_deref().map(owned_text);
        let view = TensorView {
            name: text.as_deref().map_or(null(), std::ffi::CStr::as_ptr),
            element,
            rank: shape.as_ref().map_or(rank, Vec::len),
            shape: shape.as_deref().map_or(null(), <[u64]>::as_ptr),
            // More than any memory, of which nothing is read; else what is there.
            size: if huge && data.is_none() { usize::MAX } else { data.as_ref().map_or(0, Vec::len) },
            data: data.as_deref().map_or(null(), <[u8]>::as_ptr),
        };
        // SAFETY: the pointers are null or lead to what they say.
        match unsafe { convert::tensors(&raw const view, 1) } {
            Ok(read) => {
                prop_assert_eq!(Some(&read[0].name), name.as_ref());
                prop_assert_eq!(&read[0].data, &data.unwrap_or_default());
                prop_assert_eq!(&read[0].shape, &shape.unwrap_or_default());
            }
            Err(error) => prop_assert_eq!(error.code(), Code::BadArgument as i32),
        }
    }
}
