//! Why TVM could not load or run a model, as errors of this crate.

use charsiug2p_g2p_tvm::TvmError;

use crate::error::MobileError;

/// Why a model cannot be loaded.
pub(crate) fn while_loading(model: &str, error: &TvmError) -> MobileError {
    let (model, message) = (model.to_owned(), error.to_string());
    match error {
        TvmError::NotLinked | TvmError::NoGlobal { .. } | TvmError::Version { .. } => {
            MobileError::NotLinked { message }
        }
        TvmError::NoModel { .. } => MobileError::ModelMissing { model, message },
        error if is_memory(error) => MobileError::OutOfMemory { message },
        _ => MobileError::CorruptModel { model, message },
    }
}

/// Why a loaded model failed.
pub(crate) fn while_running(model: &str, error: &TvmError) -> MobileError {
    let message = error.to_string();
    if is_memory(error) {
        MobileError::OutOfMemory { message }
    } else {
        MobileError::ModelFailed { model: model.to_owned(), message }
    }
}

/// C++ reports exhausted memory by an exception of this name, which TVM passes on as text.
fn is_memory(error: &TvmError) -> bool {
    match error {
        TvmError::TooLarge(_) => true,
        TvmError::Raised { message, .. } => message.contains("bad_alloc"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_tvm_keep_apart() {
        let raised = |message: &str| TvmError::Raised {
            doing: "loading".to_owned(),
            kind: "InternalError".to_owned(),
            message: message.to_owned(),
        };
        let loading = |error| while_loading("m", &error).code();
        assert_eq!(loading(TvmError::NotLinked), 1);
        assert_eq!(loading(TvmError::NoModel { prefix: "m_".to_owned() }), 5);
        assert_eq!(loading(raised("Invalid magic number")), 6);
        assert_eq!(loading(raised("std::bad_alloc")), 7);
        assert_eq!(loading(TvmError::TooLarge(vec![1])), 7);
        assert_eq!(while_running("m", &raised("std::bad_alloc")).code(), 7);
        assert_eq!(while_running("m", &raised("a shape does not match")).code(), 20);
    }
}
