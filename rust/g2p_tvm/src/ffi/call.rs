//! Calls of functions, and what they take and return.

use std::ffi::CString;
use std::fmt;
use std::ptr;

use super::layout::{index, ByteArray, Payload, RawAny};
use super::object::Object;
use super::{check_linked, raised, TVMFFIFunctionCall, TVMFFIFunctionGetGlobal};
use crate::error::TvmError;

/// More than any entry function has; keeps the arguments of a call on the stack.
pub const MAX_ARGUMENTS: usize = 16;

/// An argument of a call.
#[derive(Debug, Clone, Copy)]
pub enum RawArgument<'a> {
    Int(i64),
    Bool(bool),
    Text(&'a str),
    Object(&'a Object),
}

/// The result of a call.
#[derive(Debug)]
pub enum Returned {
    None,
    Int(i64),
    Bool(bool),
    Float(f64),
    Tensor(Object),
    Array(Object),
    Function(Object),
    Module(Object),
    /// Anything else, by TVM's type index; already released.
    Other(i32),
}

impl Returned {
    fn from_raw(raw: RawAny) -> Self {
        // SAFETY: the type index names the field of the union that was written; an object's reference
        // is owned by the result and moves into `Object`.
        unsafe {
            match raw.type_index {
                index::NONE => Self::None,
                index::INT => Self::Int(raw.payload.int),
                index::BOOL => Self::Bool(raw.payload.int != 0),
                index::FLOAT => Self::Float(raw.payload.float),
                kind if kind >= index::FIRST_OBJECT => {
                    match (Object::from_owned(raw.payload.object), kind) {
                        (Some(object), index::TENSOR) => Self::Tensor(object),
                        (Some(object), index::ARRAY) => Self::Array(object),
                        (Some(object), index::FUNCTION) => Self::Function(object),
                        (Some(object), index::MODULE) => Self::Module(object),
                        _ => Self::Other(kind),
                    }
                }
                kind => Self::Other(kind),
            }
        }
    }
}

/// A function of TVM's global registry, or none.
pub fn global(name: &str) -> Result<Option<Object>, TvmError> {
    check_linked()?;
    let bytes = ByteArray { data: name.as_ptr().cast(), size: name.len() };
    let mut out = ptr::null_mut();
    // SAFETY: both pointers are to locals that outlive the call.
    let status = unsafe { TVMFFIFunctionGetGlobal(&raw const bytes, &raw mut out) };
    if status != 0 {
        return Err(raised(status, &format_args!("looking up the global function {name:?}")));
    }
    Ok(Object::from_owned(out))
}

/// Calls a function object. Allocates nothing unless an argument is text.
pub fn call(
    function: &Object,
    arguments: &[RawArgument<'_>],
    doing: &dyn fmt::Display,
) -> Result<Returned, TvmError> {
    if function.type_index() != index::FUNCTION {
        return Err(TvmError::Type {
            doing: doing.to_string(),
            expected: "a function",
            found: format!("an object of type index {}", function.type_index()),
        });
    }
    if arguments.len() > MAX_ARGUMENTS {
        return Err(TvmError::TooManyArguments { given: arguments.len(), max: MAX_ARGUMENTS });
    }
    let mut raw = [RawAny::NONE; MAX_ARGUMENTS];
    let mut texts: Vec<CString> = Vec::new();
    for (slot, argument) in raw.iter_mut().zip(arguments) {
        (slot.type_index, slot.payload) = match *argument {
            RawArgument::Int(int) => (index::INT, Payload { int }),
            RawArgument::Bool(truth) => (index::BOOL, Payload { int: i64::from(truth) }),
            RawArgument::Object(object) => {
                (object.type_index(), Payload { object: object.as_ptr() })
            }
            RawArgument::Text(text) => {
                let owned = CString::new(text).map_err(|_| TvmError::NulInName(text.to_owned()))?;
                // The heap block stays where it is when the vector grows.
                let pointer = owned.as_ptr();
                texts.push(owned);
                (index::RAW_STR, Payload { text: pointer })
            }
        };
    }
    let mut result = RawAny::NONE;
    // SAFETY: the function is a live function object; the arguments are views of values borrowed
    // for longer than the call, and `count` is their number; the result is none, as required.
    let status = unsafe {
        let count = i32::try_from(arguments.len()).unwrap_or(0);
        TVMFFIFunctionCall(function.as_ptr(), raw.as_mut_ptr(), count, &raw mut result)
    };
    if status == 0 {
        Ok(Returned::from_raw(result))
    } else {
        Err(raised(status, doing))
    }
}
