//! Texts that end an answer, across the borders of its tokens.

/// The most stop strings of a generation.
pub const MOST_STOPS: usize = 16;
/// The most bytes of each.
pub const MOST_STOP_BYTES: usize = 1024;

/// Looks for stop strings in a text that grows, and holds back what may become one.
///
/// The string that is complete first ends the text; of several that end at the same place the longest one. So it does
/// not matter into which pieces the text comes.
#[derive(Debug, Clone)]
pub struct Stops {
    strings: Vec<String>,
    /// The end of the text, which may be the beginning of a stop string.
    held: String,
}

impl Stops {
    /// Looks for these strings.
    ///
    /// # Errors
    /// What is wrong with them: one is empty or too long, or there are too many.
    pub fn new(strings: Vec<String>) -> Result<Self, String> {
        if strings.len() > MOST_STOPS {
            return Err(format!("{} stop strings, and may be {MOST_STOPS}", strings.len()));
        }
        let wrong = strings.iter().find(|one| one.is_empty() || one.len() > MOST_STOP_BYTES);
        if let Some(wrong) = wrong {
            let size = wrong.len();
            return Err(format!(
                "a stop string of {size} bytes, and may be 1 to {MOST_STOP_BYTES}"
            ));
        }
        Ok(Self { strings, held: String::new() })
    }

    /// Takes more of the text, and adds to `ready` what can no longer become a part of a stop string.
    ///
    /// Returns the number of the stop string that ended the text, with which nothing more is to be taken.
    pub fn push(&mut self, text: &str, ready: &mut String) -> Option<usize> {
        if self.strings.is_empty() {
            ready.push_str(text);
            return None;
        }
        self.held.push_str(text);
        let ends = self.strings.iter().enumerate().filter_map(|(number, stop)| {
            self.held.find(stop.as_str()).map(|start| (start + stop.len(), start, number))
        });
        if let Some((_, start, number)) = ends.min() {
            ready.push_str(&self.held[..start]);
            self.held.clear();
            return Some(number);
        }
        let free = self.held.len() - self.kept();
        ready.push_str(&self.held[..free]);
        self.held.drain(..free);
        None
    }

    /// The text ends by itself: adds to `ready` what was held back.
    pub fn finish(&mut self, ready: &mut String) {
        ready.push_str(&self.held);
        self.held.clear();
    }

    /// How many bytes at the end of the text are the beginning of a stop string.
    ///
    /// A string begins with the first byte of a character, and the text ends with the last byte of one. So what is kept
    /// are whole characters.
    fn kept(&self) -> usize {
        let text = self.held.as_bytes();
        let begins = |stop: &String| {
            let most = text.len().min(stop.len() - 1);
            (1..=most).rev().find(|&size| text.ends_with(&stop.as_bytes()[..size]))
        };
        self.strings.iter().filter_map(begins).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is shown of the pieces, what is shown after each of them, and which string ended them.
    fn shown(stops: &[&str], pieces: &[&str]) -> (String, Vec<usize>, Option<usize>) {
        let mut found = Stops::new(stops.iter().map(|&one| one.to_owned()).collect()).unwrap();
        let (mut ready, mut sizes) = (String::new(), Vec::new());
        for piece in pieces {
            let stop = found.push(piece, &mut ready);
            sizes.push(ready.len());
            if stop.is_some() {
                return (ready, sizes, stop);
            }
        }
        found.finish(&mut ready);
        (ready, sizes, None)
    }

    #[test]
    fn a_stop_string_over_borders_is_never_shown() {
        let (text, sizes, stop) = shown(&["\nUser:"], &["Yes", ".\n", "Us", "er", ": more"]);
        assert_eq!((text.as_str(), stop), ("Yes.", Some(0)));
        assert_eq!(sizes, [3, 4, 4, 4, 4]);
    }

    #[test]
    fn what_was_held_back_is_shown_once_it_is_no_stop_string() {
        let (text, sizes, stop) = shown(&["aab"], &["a", "a", "a", "c"]);
        assert_eq!((text.as_str(), stop), ("aaac", None));
        assert_eq!(sizes, [0, 0, 1, 4]);
        assert_eq!(shown(&["END"], &["the E", "N"]), ("the EN".to_owned(), vec![4, 4], None));
    }

    #[test]
    fn the_first_that_is_complete_ends_the_text() {
        for pieces in [&["xabcd"][..], &["x", "a", "b", "c"], &["xa", "bc"]] {
            assert_eq!(shown(&["xabc", "ab"], pieces).2, Some(1), "{pieces:?}");
            assert_eq!(shown(&["xabc", "ab"], pieces).0, "x");
        }
        assert_eq!(shown(&["b", "ab"], &["xab"]).0, "x", "of two that end together the longer one");
        assert_eq!(shown(&["好"], &["你好"]).0, "你");
    }

    #[test]
    fn strings_that_cannot_be_looked_for_are_refused() {
        assert!(Stops::new(vec![String::new()]).is_err());
        assert!(Stops::new(vec!["a".repeat(MOST_STOP_BYTES + 1)]).is_err());
        assert!(Stops::new(vec!["a".to_owned(); MOST_STOPS + 1]).is_err());
        assert!(Stops::new(vec!["a".to_owned(); MOST_STOPS]).is_ok());
    }

    /// The same by its definition: character after character, the first place where a string ends.
    fn expected(stops: &[String], text: &str) -> (String, bool) {
        for (at, letter) in text.char_indices() {
            let so_far = &text[..at + letter.len_utf8()];
            let longest =
                stops.iter().filter(|stop| so_far.ends_with(*stop)).map(String::len).max();
            if let Some(size) = longest {
                return (so_far[..so_far.len() - size].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            stops in prop::collection::vec("[abä]{1,4}", 0..4),
            pieces in prop::collection::vec("[abcä]{0,5}", 0..12),
        ) {
            let stops_of: Vec<&str> = stops.iter().map(String::as_str).collect();
            let pieces_of: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (text, _, stop) = shown(&stops_of, &pieces_of);
            prop_assert_eq!((text, stop.is_some()), expected(&stops, &pieces.concat()));
        }
    }
}
