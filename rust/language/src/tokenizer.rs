//! Text to tokens and back, by Hugging Face's tokenizers and the model's own file.

use crate::pieces::Decode;

/// A model's `tokenizer.json`.
///
/// Special tokens in a text are text: `</s>` becomes the tokens of its four characters, as with transformers'
/// `split_special_tokens`.
#[derive(Debug, Clone)]
pub struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Reads the content of the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(content: &[u8]) -> Result<Self, String> {
        let mut found = tokenizers::Tokenizer::from_bytes(content)
            .map_err(|error| format!("the tokenizer cannot be read: {error}"))?;
        // A file may ask for either, for training; a prompt is whole and alone.
        found.with_truncation(None).map_err(|error| error.to_string())?;
        found.with_padding(None);
        found.set_encode_special_tokens(true);
        Ok(Self(found))
    }

    /// The tokens of a text; `around` adds those that the tokenizer puts around a whole text.
    ///
    /// # Errors
    /// The tokenizer's reason.
    pub fn encode(&self, text: &str, around: bool) -> Result<Vec<i32>, String> {
        let found = self.0.encode_fast(text, around).map_err(|error| error.to_string())?;
        found
            .get_ids()
            .iter()
            .map(|&id| i32::try_from(id).map_err(|_| format!("the tokenizer gives the token {id}")))
            .collect()
    }

    /// The special token of that name, such as `<|im_end|>`.
    #[must_use]
    pub fn special(&self, name: &str) -> Option<i32> {
        let added = self.0.get_added_tokens_decoder();
        let found = added.iter().find(|(_, token)| token.special && token.content == name);
        found.and_then(|(&id, _)| i32::try_from(id).ok())
    }
}

impl Decode for Tokenizer {
    /// Special tokens are shown by their names. A token that the file does not have, such as one that only pads a
    /// vocabulary, has no text.
    fn decode(&self, tokens: &[i32]) -> Result<String, String> {
        let ids: Vec<u32> = tokens.iter().filter_map(|&one| u32::try_from(one).ok()).collect();
        self.0.decode(&ids, false).map_err(|error| error.to_string())
    }
}
