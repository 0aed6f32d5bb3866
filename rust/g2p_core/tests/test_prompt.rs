//! The prompt and every way a word can be refused.

use charsiug2p_g2p_core::{InputError, Language, PromptFormat};
use proptest::prelude::*;

const FORMAT: PromptFormat = PromptFormat { max_input_bytes: 64, space: true };

fn english() -> Language {
    Language::new("eng-us", None).unwrap()
}

#[test]
fn the_space_after_the_colon_is_an_option() {
    let bare = PromptFormat { space: false, ..FORMAT };
    assert_eq!(FORMAT.prompt(&english(), "siu").unwrap(), "<eng-us>: siu");
    assert_eq!(bare.prompt(&english(), "siu").unwrap(), "<eng-us>:siu");
}

#[test]
fn empty_words_are_refused() {
    assert_eq!(FORMAT.prompt(&english(), ""), Err(InputError::EmptyWord));
}

#[test]
fn separators_are_refused_and_named() {
    for (word, name, at) in [
        ("a\tb", "a tab", 1),
        ("ab\n", "a newline", 2),
        ("\rab", "a newline", 0),
        ("ä\0", "a NUL", 2),
    ] {
        let error = FORMAT.prompt(&english(), word).unwrap_err();
        assert_eq!(error, InputError::ForbiddenCharacter { word: word.to_owned(), name, at });
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn the_limit_counts_bytes_of_the_whole_prompt() {
    let prefix = "<eng-us>: ".len();
    let fits = "a".repeat(64 - prefix);
    assert_eq!(FORMAT.prompt(&english(), &fits).unwrap().len(), 64);
    let word = format!("{}é", "a".repeat(64 - prefix - 1));
    let error = FORMAT.prompt(&english(), &word).unwrap_err();
    assert_eq!(error, InputError::TooLong { word: word.clone(), size: 65, limit: 64 });
    let text = error.to_string();
    assert!(text.contains(&word) && text.contains("65") && text.contains("64"), "{text}");
}

#[test]
fn language_codes_have_a_form() {
    for code in ["", "eng us", "eng>", "ängl", "a\n", &"a".repeat(33)] {
        assert_eq!(
            Language::new(code, None),
            Err(InputError::BadLanguage { code: code.to_owned() })
        );
    }
}

#[test]
fn unknown_languages_name_the_known_ones() {
    let known = ["eng-us".to_owned(), "ger".to_owned()];
    assert_eq!(Language::new("ger", Some(&known)).unwrap().as_str(), "ger");
    let error = Language::new("xyz", Some(&known)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model does not have the language \"xyz\"; it has eng-us, ger"
    );
}

proptest! {
    #[test]
    fn any_word_is_either_in_the_prompt_or_refused(word in any::<String>()) {
        match FORMAT.prompt(&english(), &word) {
            Ok(prompt) => {
                prop_assert_eq!(prompt.strip_prefix("<eng-us>: "), Some(word.as_str()));
                prop_assert!(prompt.len() <= 64);
            }
            Err(InputError::EmptyWord) => prop_assert!(word.is_empty()),
            Err(InputError::TooLong { size, .. }) => prop_assert_eq!(size, word.len() + 10),
            Err(InputError::ForbiddenCharacter { at, .. }) => {
                prop_assert!(b"\t\r\n\0".contains(&word.as_bytes()[at]));
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
