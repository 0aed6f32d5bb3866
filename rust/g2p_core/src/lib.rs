#![doc = include_str!("../README.md")]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt;

use thiserror::Error;

/// Longest language code accepted, in bytes; the published codes have at most nine.
pub const MAX_LANGUAGE_BYTES: usize = 32;

/// Why a word or a language cannot be given to the model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputError {
    /// The word has no characters.
    #[error("the word is empty")]
    EmptyWord,
    /// The word contains a character that separates words or fields in files.
    #[error("the word {word:?} contains {name} at byte {at}")]
    ForbiddenCharacter {
        /// The word as given.
        word: String,
        /// What was found: a tab, a newline or a NUL.
        name: &'static str,
        /// Where, in bytes from the word's start.
        at: usize,
    },
    /// The prompt does not fit in the model's input.
    #[error(
        "the word {word:?} is too long: it makes a prompt of {size} bytes with its language prefix, \
         the model takes {limit}"
    )]
    TooLong {
        /// The word as given.
        word: String,
        /// Bytes of the whole prompt.
        size: usize,
        /// The model's `max_input_bytes`.
        limit: usize,
    },
    /// Not the shape of a language code at all.
    #[error(
        "{code:?} is not a language code: use letters, digits, '-' and '_', at most {MAX_LANGUAGE_BYTES}"
    )]
    BadLanguage {
        /// The code as given.
        code: String,
    },
    /// A well-formed code that the model was not trained on.
    #[error("the model does not have the language {code:?}; it has {}", known.join(", "))]
    UnknownLanguage {
        /// The code as given.
        code: String,
        /// The model's languages.
        known: Vec<String>,
    },
}

/// A well-formed language code such as `eng-us`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Language(String);

impl Language {
    /// Checks the code's form, and with `known` that the model has it.
    ///
    /// # Errors
    /// [`InputError::BadLanguage`] and [`InputError::UnknownLanguage`].
    pub fn new(code: &str, known: Option<&[String]>) -> Result<Self, InputError> {
        let well_formed = !code.is_empty()
            && code.len() <= MAX_LANGUAGE_BYTES
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !well_formed {
            return Err(InputError::BadLanguage { code: code.to_owned() });
        }
        match known {
            Some(known) if !known.iter().any(|k| k == code) => {
                Err(InputError::UnknownLanguage { code: code.to_owned(), known: known.to_vec() })
            }
            _ => Ok(Self(code.to_owned())),
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a model wants its prompt, from the archive's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptFormat {
    /// Bytes of prompt the encoder takes at most.
    pub max_input_bytes: usize,
    /// Whether a space follows the colon; it belongs to the model's training format.
    pub space: bool,
}

impl PromptFormat {
    /// The checked prompt `<lang>: word`.
    ///
    /// # Errors
    /// Every [`InputError`] about words.
    ///
    /// # Examples
    /// ```
    /// use charsiug2p_g2p_core::{Language, PromptFormat};
    /// let format = PromptFormat { max_input_bytes: 64, space: true };
    /// let language = Language::new("eng-us", None)?;
    /// assert_eq!(format.prompt(&language, "Char")?, "<eng-us>: Char");
    /// # Ok::<(), charsiug2p_g2p_core::InputError>(())
    /// ```
    pub fn prompt(&self, language: &Language, word: &str) -> Result<String, InputError> {
        check_word(word)?;
        let separator = if self.space { ">: " } else { ">:" };
        let prompt = format!("<{language}{separator}{word}");
        if prompt.len() > self.max_input_bytes {
            return Err(InputError::TooLong {
                word: word.to_owned(),
                size: prompt.len(),
                limit: self.max_input_bytes,
            });
        }
        Ok(prompt)
    }
}

fn check_word(word: &str) -> Result<(), InputError> {
    if word.is_empty() {
        return Err(InputError::EmptyWord);
    }
    let forbidden = word.char_indices().find_map(|(at, c)| match c {
        '\t' => Some((at, "a tab")),
        '\n' | '\r' => Some((at, "a newline")),
        '\0' => Some((at, "a NUL")),
        _ => None,
    });
    match forbidden {
        Some((at, name)) => Err(InputError::ForbiddenCharacter { word: word.to_owned(), name, at }),
        None => Ok(()),
    }
}
