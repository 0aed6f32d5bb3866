//! Text out of tokens that come one after the other, always whole characters.

/// The most tokens that are looked at again with the next one. A character has four bytes at most, so more tokens that
/// end with broken bytes are broken.
const MOST_PENDING: usize = 32;
/// What decoders write instead of bytes that are not a character.
const REPLACEMENT: char = '\u{fffd}';

/// Turns tokens into text.
pub trait Decode {
    /// The text of tokens.
    ///
    /// # Errors
    /// Why they have none.
    fn decode(&self, tokens: &[i32]) -> Result<String, String>;
}

/// The text of an answer while it grows.
///
/// A text's end is not known while its last bytes are not a character, or if the next token may change it. Such an end
/// is held back. Tokens are decoded together with those of the piece before, because a token may have another text at
/// the beginning, such as one without its space. Where they change the text of that piece, which was given, they are
/// decoded alone: some decoders replace all bytes of a run once one of them is broken.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    /// The tokens of the last piece, and those whose text is not given yet.
    window: Vec<i32>,
    /// How many of them are the last piece's.
    context: usize,
    /// The beginning of the window's text, which was given.
    given: String,
}

impl Pieces {
    /// Adds to `ready` the text that is certain with this token.
    ///
    /// # Errors
    /// What decoding gives.
    pub fn push(
        &mut self,
        codec: &impl Decode,
        token: i32,
        ready: &mut String,
    ) -> Result<(), String> {
        self.window.push(token);
        let text = self.decoded(codec)?;
        let certain = text.trim_end_matches(REPLACEMENT);
        let full = self.window.len() - self.context >= MOST_PENDING;
        let new = if full { &text } else { certain }.strip_prefix(self.given.as_str());
        let new = new.unwrap_or_default();
        if new.is_empty() && !full {
            return Ok(());
        }
        ready.push_str(new);
        if full || certain.len() == text.len() {
            // All of it is given: these tokens are the next ones' context.
            self.window.drain(..self.context);
            self.context = self.window.len();
            self.given = codec.decode(&self.window)?;
        } else {
            self.given.push_str(new);
        }
        Ok(())
    }

    /// The text of the window, which begins with what was given.
    fn decoded(&mut self, codec: &impl Decode) -> Result<String, String> {
        let text = codec.decode(&self.window)?;
        if self.context == 0 || text.starts_with(&self.given) {
            return Ok(text);
        }
        self.window.drain(..self.context);
        self.context = 0;
        self.given.clear();
        codec.decode(&self.window)
    }

    /// The answer ends: adds to `ready` what was held back.
    ///
    /// # Errors
    /// What decoding gives.
    pub fn finish(mut self, codec: &impl Decode, ready: &mut String) -> Result<(), String> {
        let text = self.decoded(codec)?;
        ready.push_str(text.strip_prefix(self.given.as_str()).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A token is a byte, as of a decoder of GPT-2's kind.
    struct Bytes;

    impl Decode for Bytes {
        fn decode(&self, tokens: &[i32]) -> Result<String, String> {
            let bytes =
                tokens.iter().map(|&one| u8::try_from(one).map_err(|_| "no byte".to_owned()));
            Ok(String::from_utf8_lossy(&bytes.collect::<Result<Vec<u8>, _>>()?).into_owned())
        }
    }

    /// The same as of a decoder of SentencePiece's kind: a space before the first word is left out, and where a run of
    /// bytes is no text, each of its bytes is replaced.
    struct Fallback;

    impl Decode for Fallback {
        fn decode(&self, tokens: &[i32]) -> Result<String, String> {
            let bytes: Vec<u8> = tokens.iter().filter_map(|&one| u8::try_from(one).ok()).collect();
            let mut text = String::new();
            for run in bytes.chunk_by(|one, other| one.is_ascii() == other.is_ascii()) {
                match std::str::from_utf8(run) {
                    Ok(found) => text.push_str(found),
                    Err(_) => text.extend(run.iter().map(|_| REPLACEMENT)),
                }
            }
            Ok(text.strip_prefix(' ').unwrap_or(&text).to_owned())
        }
    }

    fn pieces(codec: &impl Decode, bytes: &[u8]) -> Vec<String> {
        let mut growing = Pieces::default();
        let mut found: Vec<String> = bytes
            .iter()
            .map(|&byte| {
                let mut ready = String::new();
                growing.push(codec, i32::from(byte), &mut ready).unwrap();
                ready
            })
            .collect();
        let mut last = String::new();
        growing.finish(codec, &mut last).unwrap();
        found.push(last);
        found
    }

    #[test]
    fn a_character_over_four_tokens_comes_with_its_last_one() {
        let found = pieces(&Bytes, "a🐦b".as_bytes());
        assert_eq!(found, ["a", "", "", "", "🐦", "b", ""]);
        let found = pieces(&Fallback, " a🐦 b".as_bytes());
        assert_eq!(found.concat(), "a🐦 b");
        assert_eq!(found[5], "🐦");
    }

    #[test]
    fn bytes_of_no_character_are_replaced_and_nothing_is_lost() {
        let bird = "🐦".as_bytes();
        let found = pieces(&Bytes, &[&bird[..3], b"x", bird, &bird[..2]].concat());
        assert_eq!(found.concat(), "\u{fffd}x🐦\u{fffd}");
        assert_eq!(found[3], "\u{fffd}x", "held back until the next token");
        assert_eq!(found.last().unwrap(), "\u{fffd}");
    }

    #[test]
    fn a_model_that_gives_the_same_broken_byte_again_and_again_is_shown() {
        let found = pieces(&Bytes, &[0xA0; 10_000]);
        assert_eq!(found.concat(), "\u{fffd}".repeat(10_000));
        assert!(found[MOST_PENDING..].iter().any(|piece| !piece.is_empty()));
    }

    #[test]
    fn what_was_given_is_not_taken_back_and_what_follows_is_not_lost() {
        // As one run of bytes all of it is broken: five replaced characters.
        let found = pieces(&Fallback, &["ä".as_bytes(), &[0xE4], "你x".as_bytes()].concat());
        assert_eq!(found.concat(), "ä\u{fffd}\u{fffd}\u{fffd}\u{fffd}x");
        let found = pieces(&Fallback, &["ä".as_bytes(), &[0xE4]].concat());
        assert_eq!(found.concat(), "ä\u{fffd}");
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error() {
        assert!(Pieces::default().push(&Bytes, -1, &mut String::new()).is_err());
    }

    proptest! {
        #[test]
        fn a_text_comes_back_as_it_was(text in "[ -~äß你好🐦é]{0,40}") {
            prop_assert_eq!(pieces(&Bytes, text.as_bytes()).concat(), text.as_str());
            let expected = text.strip_prefix(' ').unwrap_or(&text);
            prop_assert_eq!(pieces(&Fallback, text.as_bytes()).concat(), expected);
        }

        #[test]
        fn any_bytes_come_as_they_are_decoded_together(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xE4_u8), Just(0x80_u8)], 0..31),
        ) {
            let expected = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert_eq!(pieces(&Bytes, &bytes).concat(), expected);
        }
    }
}
