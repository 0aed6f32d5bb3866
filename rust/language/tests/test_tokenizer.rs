//! Tokenizers of three kinds, held to Python's package by `tests/vectors/tokenizers.json`, which
//! `tests/models/tokenizer_vectors.py` writes.
#![cfg(feature = "tokenizer")]

use std::fs;

use charsiug2p_language::{Decode, Pieces, Stops, Tokenizer};
use serde_json::Value;

fn kinds() -> Vec<(String, Tokenizer, Value)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/tokenizers.json");
    let vectors: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let kind = |one: Value| {
        let tokenizer = Tokenizer::read(text(&one["content"]).as_bytes()).unwrap();
        (text(&one["kind"]), tokenizer, one)
    };
    vectors.into_iter().map(kind).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn tokens(value: &Value) -> Vec<i32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// The pieces of an answer, the last of them what is given at its end.
fn pieces(codec: &Tokenizer, tokens: &[i32]) -> Vec<String> {
    let (mut growing, mut found) = (Pieces::default(), Vec::new());
    for &token in tokens {
        let mut ready = String::new();
        growing.push(codec, token, &mut ready).unwrap();
        found.push(ready);
    }
    let mut rest = String::new();
    growing.finish(codec, &mut rest).unwrap();
    found.push(rest);
    found
}

#[test]
fn texts_become_the_tokens_that_python_gives_and_come_back() {
    for (kind, codec, vectors) in kinds() {
        for case in vectors["cases"].as_array().unwrap() {
            let given = text(&case["text"]);
            assert_eq!(
                codec.encode(&given, true).unwrap(),
                tokens(&case["around"]),
                "{kind} {given}"
            );
            let alone = codec.encode(&given, false).unwrap();
            assert_eq!(alone, tokens(&case["alone"]), "{kind} {given}");
            assert_eq!(codec.decode(&alone).unwrap(), text(&case["decoded"]), "{kind} {given}");
            // The same text piece by piece, and every piece is one by itself.
            assert_eq!(pieces(&codec, &alone).concat(), text(&case["decoded"]), "{kind} {given}");
        }
    }
}

#[test]
fn answers_of_any_tokens_have_the_text_that_python_gives() {
    for (kind, codec, vectors) in kinds() {
        for answer in vectors["answers"].as_array().unwrap() {
            let (tokens, expected) = (tokens(&answer["tokens"]), text(&answer["text"]));
            assert_eq!(codec.decode(&tokens).unwrap(), expected, "{kind}");
            let found = pieces(&codec, &tokens).concat();
            if kind != "fallback" {
                assert_eq!(found, expected, "{kind} {tokens:?}");
                continue;
            }
            // Of bytes that are no text, this decoder replaces those before them, too, once they come. What was given
            // is not taken back, so only the replaced characters can be others.
            let plain = |text: &str| text.replace('\u{fffd}', "");
            assert!(found.chars().count() <= expected.chars().count(), "{kind} {tokens:?}");
            assert!(plain(&found).len() >= plain(&expected).len(), "{kind} {tokens:?}");
        }
    }
}

#[test]
fn a_character_comes_with_its_last_token() {
    for (kind, codec, _) in kinds() {
        let tokens = codec.encode("a🐦b", false).unwrap();
        let found = pieces(&codec, &tokens);
        assert_eq!(found.concat(), "a🐦b", "{kind}");
        let bird = found.iter().position(|piece| piece.contains('🐦')).unwrap();
        assert_eq!(found[bird - 3..bird], ["", "", ""], "{kind}");
    }
}

#[test]
fn a_stop_string_is_found_where_its_tokens_begin_elsewhere() {
    for (kind, codec, _) in kinds() {
        let tokens = codec.encode("It ends here.🐦 And more", false).unwrap();
        let (mut growing, mut ready) = (Pieces::default(), String::new());
        let mut stops = Stops::new(vec!["re.🐦".to_owned()]).unwrap();
        let stopped = tokens.iter().find_map(|&token| {
            let mut text = String::new();
            growing.push(&codec, token, &mut text).unwrap();
            stops.push(&text, &mut ready)
        });
        assert_eq!((stopped, ready.as_str()), (Some(0), "It ends he"), "{kind}");
    }
}

#[test]
fn special_tokens_are_tokens_by_their_names_alone() {
    for (kind, codec, _) in kinds() {
        let end = codec.special("</s>").unwrap();
        assert!(!codec.encode("</s>", false).unwrap().contains(&end), "{kind}");
        assert_eq!(codec.decode(&[end]).unwrap(), "</s>", "{kind}");
        assert_eq!(codec.special("e"), None, "{kind}: a token like any other");
        assert_eq!(codec.special("<none>"), None);
    }
}

#[test]
fn a_file_that_is_none_is_refused() {
    for content in [&b""[..], b"{}", b"\xff", b"[1, 2]"] {
        let error = Tokenizer::read(content).unwrap_err();
        assert!(error.starts_with("the tokenizer cannot be read: "), "{error}");
    }
}
