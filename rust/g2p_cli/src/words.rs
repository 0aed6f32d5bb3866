//! Words from standard input, one a line.

use std::io::{self, Read};

use thiserror::Error;

/// Why standard input holds no words.
#[derive(Debug, Error)]
pub enum WordsError {
    /// Reading failed.
    #[error("standard input: {0}")]
    Read(#[from] io::Error),
    /// A line that is not UTF-8.
    #[error("standard input, line {line}: not valid UTF-8")]
    Encoding {
        /// Counted from one.
        line: usize,
    },
    /// A line without a word.
    #[error("standard input, line {line}: empty")]
    Empty {
        /// Counted from one.
        line: usize,
    },
    /// No line at all.
    #[error("no words: give them as arguments or on standard input, one a line")]
    None,
}

/// The lines of a stream; all of it is read before anything is computed, so that a bad line cannot
/// leave half an answer behind.
pub fn read_words(mut stream: impl Read) -> Result<Vec<String>, WordsError> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if body.is_empty() {
        return Err(WordsError::None);
    }
    let mut words = Vec::new();
    for (line, word) in (1..).zip(body.split(|&byte| byte == b'\n')) {
        let word = word.strip_suffix(b"\r").unwrap_or(word);
        if word.is_empty() {
            return Err(WordsError::Empty { line });
        }
        let word = str::from_utf8(word).map_err(|_| WordsError::Encoding { line })?;
        words.push(word.to_owned());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        read_words(bytes).unwrap_err().to_string()
    }

    #[test]
    fn one_word_a_line_with_either_line_end() {
        assert_eq!(read_words(&b"Char\nsiu"[..]).unwrap(), ["Char", "siu"]);
        assert_eq!(read_words(&b"a b\r\n\xc3\xa4\r\n"[..]).unwrap(), ["a b", "ä"]);
    }

    #[test]
    fn bad_lines_are_named_by_number() {
        assert!(error(b"a\n\nb\n").contains("line 2: empty"));
        assert!(error(b"a\nb\n\xff\n").contains("line 3: not valid UTF-8"));
    }

    #[test]
    fn nothing_is_an_error() {
        assert!(error(b"").starts_with("no words"));
        assert!(error(b"\n").starts_with("no words"));
    }
}
