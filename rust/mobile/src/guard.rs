//! No panic leaves this crate.
//!
//! A panic that unwinds into C, Kotlin or Swift is undefined behaviour there, or ends the app. Each call of the
//! model, each call of a listener and each function of the C interface therefore runs inside of `caught`. What a
//! panic may have left half done is dropped by the caller of `caught`.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::error::MobileError;

/// Does the work. A panic becomes an error.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, MobileError>) -> Result<T, MobileError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(MobileError::Panic { message: message(&*payload) }))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let nothing: Vec<u8> = Vec::new();
        let at = std::hint::black_box(3);
        let error = caught(|| Ok(nothing[at])).unwrap_err();
        assert!(
            matches!(&error, MobileError::Panic { message } if message.contains("bounds")),
            "{error}"
        );
        let error = caught::<()>(|| std::panic::resume_unwind(Box::new("text"))).unwrap_err();
        assert_eq!(error, MobileError::Panic { message: "text".to_owned() });
        let error = caught::<()>(|| std::panic::resume_unwind(Box::new(7))).unwrap_err();
        assert_eq!(error, MobileError::Panic { message: "a panic without a message".to_owned() });
    }
}
