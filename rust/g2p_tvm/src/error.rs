//! What can go wrong between Rust and TVM.

use thiserror::Error;

/// An error of this crate; those raised inside TVM carry its own message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TvmError {
    /// The program was built without the variables that name TVM's libraries.
    #[error(
        "this program was built without TVM: set G2P_TVM_RUNTIME_LIB (and G2P_TVM_FFI_LIB_DIR, \
         G2P_TVM_SYSTEM_LIB for a model, G2P_TVM_STATIC_LINK=1 for static libraries) and build it \
         again; docs/rust.md lists all variables"
    )]
    NotLinked,
    /// TVM raised an error.
    #[error("{doing}: TVM raised {kind}: {message}")]
    Raised {
        /// What was being done.
        doing: String,
        /// TVM's class of error, such as `RuntimeError`.
        kind: String,
        /// TVM's message.
        message: String,
    },
    /// The linked TVM has another version of the interface.
    #[error("the linked TVM FFI has version {found}, this crate is written for {expected}")]
    Version {
        /// The version that the library reports.
        found: String,
        /// The version that the layouts in this crate belong to.
        expected: &'static str,
    },
    /// A global function of the runtime is not registered.
    #[error(
        "the TVM runtime has no global function {name:?}; was it linked whole, and is it the \
         runtime with the Relax virtual machine?"
    )]
    NoGlobal {
        /// The function's name.
        name: String,
    },
    /// No model with this prefix is linked into the program.
    #[error(
        "no model with the system-lib prefix {prefix:?} is linked into this program: is it in the \
         archive of G2P_TVM_SYSTEM_LIB, and was that linked whole?"
    )]
    NoModel {
        /// The prefix asked for.
        prefix: String,
    },
    /// A module lacks a function.
    #[error("the module {module:?} has no function {name:?}")]
    NoFunction {
        /// Prefix or path of the module.
        module: String,
        /// The function's name.
        name: String,
    },
    /// A call returned something else than expected.
    #[error("{doing}: expected {expected}, got {found}")]
    Type {
        /// What was being done.
        doing: String,
        /// The expected kind of value.
        expected: &'static str,
        /// The kind that came.
        found: String,
    },
    /// A tensor of another element type.
    #[error("the tensor holds {found}, not {expected}")]
    Dtype {
        /// The type asked for.
        expected: &'static str,
        /// The tensor's type.
        found: String,
    },
    /// A tensor of another shape, or data that does not fill the shape.
    #[error("{what}: expected shape {expected:?}, got {found:?}")]
    Shape {
        /// Which tensor.
        what: String,
        /// The shape needed.
        expected: Vec<usize>,
        /// The shape that came.
        found: Vec<usize>,
    },
    /// A shape whose elements cannot be counted in memory.
    #[error("a tensor of shape {0:?} does not fit in memory")]
    TooLarge(Vec<usize>),
    /// An index outside the tensor.
    #[error("index {index:?} is outside the tensor of shape {shape:?}")]
    OutOfBounds {
        /// The leading index.
        index: Vec<usize>,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// A tensor that cannot be read in place.
    #[error("the tensor cannot be read: {0}")]
    Layout(&'static str),
    /// A tensor cannot be written while TVM holds it, too.
    #[error("the tensor is still referenced by TVM or by a result and cannot be written")]
    Shared,
    /// More arguments than a call takes.
    #[error("{given} arguments are more than a call takes ({max})")]
    TooManyArguments {
        /// How many were given.
        given: usize,
        /// How many a call takes.
        max: usize,
    },
    /// A name with a NUL cannot be given to TVM.
    #[error("the name {0:?} contains a NUL")]
    NulInName(String),
    /// Threads can only be limited before the first one starts.
    #[error("the number of threads must be set before the program starts any ({running} run)")]
    ThreadsStarted {
        /// How many threads the process has.
        running: usize,
    },
    /// Metadata that lacks the prefix of a needed function.
    #[error("the prefixes lack {missing:?} (they name {})", named.join(", "))]
    NoPrefix {
        /// The function without a prefix.
        missing: &'static str,
        /// The functions that have one.
        named: Vec<String>,
    },
}
