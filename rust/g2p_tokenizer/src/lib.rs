#![doc = include_str!("../README.md")]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// Fills rows of a batch and starts the decoder.
pub const PAD: i32 = 0;
/// Ends an output.
pub const EOS: i32 = 1;
/// Never produced by [`encode`]; kept because models may emit it.
pub const UNK: i32 = 2;

const OFFSET: i32 = 3;

/// The tokens of a text: one `i32` for every byte.
///
/// # Examples
/// ```
/// assert_eq!(charsiug2p_g2p_tokenizer::encode("aé"), [100, 198, 172]);
/// ```
#[must_use]
pub fn encode(text: &str) -> Vec<i32> {
    tokens(text).collect()
}

/// [`encode`] without the vector, for callers that own the buffer.
#[must_use]
pub fn tokens(text: &str) -> impl ExactSizeIterator<Item = i32> + '_ {
    text.bytes().map(|byte| i32::from(byte) + OFFSET)
}

/// The text of generated tokens, up to the end token if there is one.
///
/// Special tokens and ids that stand for no byte are dropped, and so is every byte that is not part
/// of well-formed UTF-8, exactly as Python's `bytes.decode("utf-8", errors="ignore")` drops them.
#[must_use]
pub fn decode(ids: &[i32]) -> String {
    let mut bytes = Vec::with_capacity(ids.len());
    let ids = ids.iter().take_while(|&&id| id != EOS);
    bytes.extend(ids.filter_map(|id| id.checked_sub(OFFSET).and_then(|id| u8::try_from(id).ok())));
    let mut text = String::with_capacity(bytes.capacity());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
    }
    text
}
