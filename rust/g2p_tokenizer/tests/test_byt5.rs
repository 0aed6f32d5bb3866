//! The tokenizer against transformers' (through the shared vectors) and against arbitrary text.

use charsiug2p_g2p_tokenizer::{decode, encode, tokens, EOS, PAD, UNK};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    text: String,
    ids: Vec<i32>,
}

#[test]
fn shared_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/byt5.json");
    let text = std::fs::read_to_string(path).unwrap();
    let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap();
    assert!(vectors.len() >= 5, "{path} holds too few vectors to test anything");
    for Vector { text, ids } in vectors {
        assert_eq!(encode(&text), ids, "{text:?}");
        assert_eq!(decode(&ids), text);
    }
}

#[test]
fn decoding_drops_specials_and_stops_at_the_end_token() {
    assert_eq!(decode(&[PAD, 100, UNK, 101, EOS, 102]), "ab");
    assert_eq!(decode(&[EOS]), "");
    assert_eq!(decode(&[]), "");
}

#[test]
fn decoding_drops_ids_that_stand_for_no_byte() {
    assert_eq!(decode(&[100, 259, 383, i32::MAX, i32::MIN, -1, 101]), "ab");
}

/// Expected values are CPython 3.11's `bytes(…).decode("utf-8", errors="ignore")`.
#[test]
fn decoding_drops_broken_utf8_like_python() {
    let ids = |bytes: &[u8]| bytes.iter().map(|&b| i32::from(b) + 3).collect::<Vec<_>>();
    for (bytes, text) in [
        (&b"a\xc3"[..], "a"),
        (b"\xc3a", "a"),
        (b"\xe2\x82a\xe2\x82\xac", "a€"),
        (b"\xf0\x9f\x98b", "b"),
        (b"\xed\xa0\x80c", "c"),
        (b"\xc0\xafd", "d"),
        (b"\xffe\xfe", "e"),
        (b"\xf4\x90\x80\x80f", "f"),
        (b"\x80\xc9\x99", "ə"),
    ] {
        assert_eq!(decode(&ids(bytes)), text, "{bytes:x?}");
    }
}

proptest! {
    #[test]
    fn any_text_comes_back(text in any::<String>()) {
        let ids = encode(&text);
        prop_assert_eq!(ids.len(), text.len());
        prop_assert_eq!(tokens(&text).len(), text.len());
        prop_assert!(ids.iter().all(|id| (3..259).contains(id)));
        prop_assert_eq!(decode(&ids), text);
    }

    #[test]
    fn any_ids_decode_without_panicking(ids in proptest::collection::vec(-5..400i32, 0..64)) {
        let text = decode(&ids);
        prop_assert_eq!(decode(&encode(&text)), text);
    }
}
