//! The tokenizer of a language model; without the feature there is none.

#[cfg(feature = "tokenizer")]
pub(crate) use charsiug2p_language::Tokenizer;
#[cfg(not(feature = "tokenizer"))]
pub(crate) use without::Tokenizer;

#[cfg(not(feature = "tokenizer"))]
mod without {
    use charsiug2p_language::Decode;

    /// No value of this type exists.
    #[derive(Debug)]
    pub(crate) enum Tokenizer {}

    impl Tokenizer {
        pub fn read(_content: &[u8]) -> Result<Self, String> {
            Err("the library was built without the feature \"tokenizer\"".to_owned())
        }

        pub fn encode(&self, _text: &str, _around: bool) -> Result<Vec<i32>, String> {
            match *self {}
        }

        pub fn special(&self, _name: &str) -> Option<i32> {
            match *self {}
        }
    }

    impl Decode for Tokenizer {
        fn decode(&self, _tokens: &[i32]) -> Result<String, String> {
            match *self {}
        }
    }
}
