//! From a prefix or a file to a function that can be called.

use std::path::Path;

use crate::error::TvmError;
use crate::ffi::{self, Object, RawArgument, Returned, MAX_ARGUMENTS};
use crate::tensor::Tensor;

/// The VM entry of every model; models differ in their prefixes alone.
pub const DEFAULT_ENTRY: &str = "main";

/// The device and allocator a virtual machine is initialised with, in TVM's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceConfig {
    /// `DLDeviceType`; 1 is the CPU.
    pub device_type: i32,
    /// Which of them.
    pub device_id: i32,
    /// `AllocatorType`; 1 allocates each time, 2 keeps a pool.
    pub allocator: i32,
}

impl DeviceConfig {
    /// The CPU with pooled memory.
    #[must_use]
    pub const fn cpu() -> Self {
        Self { device_type: 1, device_id: 0, allocator: 2 }
    }
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self::cpu()
    }
}

/// A compiled model: linked into the program, or loaded from a shared library.
#[derive(Debug)]
pub struct TvmModule {
    module: Object,
    name: String,
    linked: bool,
}

impl TvmModule {
    /// The model linked into the program under this system-lib prefix.
    ///
    /// TVM answers any prefix; that no model has it shows in [`TvmModule::load_entry`].
    ///
    /// # Errors
    /// [`TvmError::NotLinked`], [`TvmError::NoGlobal`], [`TvmError::Raised`].
    pub fn from_system_lib(prefix: &str) -> Result<Self, TvmError> {
        let doing = format!("looking for the system library {prefix:?}");
        let module = Self::from_global("ffi.SystemLib", prefix, &doing)?;
        Ok(Self { module, name: prefix.to_owned(), linked: true })
    }

    /// A model in a shared library (where the system allows loading code).
    ///
    /// # Errors
    /// Those of [`TvmModule::from_system_lib`]; a missing file is raised by TVM.
    pub fn load(path: &Path) -> Result<Self, TvmError> {
        let name = path.display().to_string();
        let module =
            Self::from_global("ffi.ModuleLoadFromFile", &name, &format!("loading {name}"))?;
        Ok(Self { module, name, linked: false })
    }

    fn from_global(global: &str, argument: &str, doing: &str) -> Result<Object, TvmError> {
        let function =
            ffi::global(global)?.ok_or_else(|| TvmError::NoGlobal { name: global.to_owned() })?;
        match ffi::call(&function, &[RawArgument::Text(argument)], &doing)? {
            Returned::Module(module) => Ok(module),
            other => Err(unexpected(doing, "a module", &other.into())),
        }
    }

    /// A compiled function that belongs to no virtual machine, or none of that name.
    ///
    /// # Errors
    /// [`TvmError::NoGlobal`], [`TvmError::Raised`].
    pub fn function(&self, name: &str) -> Result<Option<Function>, TvmError> {
        match get_function(&self.module, &self.name, name, false) {
            Ok(mut function) => {
                function.name = format!("{}{name}", self.name);
                Ok(Some(function))
            }
            Err(TvmError::NoFunction { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same where there has to be one.
    ///
    /// # Errors
    /// [`TvmError::NoFunction`] and those of [`TvmModule::function`].
    pub fn require(&self, name: &str) -> Result<Function, TvmError> {
        self.function(name)?.ok_or_else(|| TvmError::NoFunction {
            module: self.name.clone(),
            name: name.to_owned(),
        })
    }

    /// Starts a virtual machine of its own for this model and gives its entry function.
    ///
    /// # Errors
    /// [`TvmError::NoModel`] when nothing is linked under the prefix, [`TvmError::NoFunction`] when
    /// the model lacks the entry, [`TvmError::Raised`].
    pub fn load_entry(&self, device: DeviceConfig, entry: &str) -> Result<Function, TvmError> {
        let loader = match get_function(&self.module, &self.name, "vm_load_executable", true) {
            Err(TvmError::NoFunction { .. }) if self.linked => {
                return Err(TvmError::NoModel { prefix: self.name.clone() });
            }
            other => other?,
        };
        let machine = match ffi::call(&loader.object, &[], &"loading the executable")? {
            Returned::Module(module) => module,
            other => {
                return Err(unexpected("loading the executable", "a module", &other.into()));
            }
        };
        let initialize = get_function(&machine, &self.name, "vm_initialization", false)?;
        initialize.call(&[
            Argument::Int(i64::from(device.device_type)),
            Argument::Int(i64::from(device.device_id)),
            Argument::Int(i64::from(device.allocator)),
        ])?;
        let mut function = get_function(&machine, &self.name, entry, false)?;
        function.name = format!("{}{entry}", self.name);
        Ok(function)
    }
}

fn get_function(
    module: &Object,
    module_name: &str,
    name: &str,
    imports: bool,
) -> Result<Function, TvmError> {
    const GLOBAL: &str = "ffi.ModuleGetFunction";
    let getter =
        ffi::global(GLOBAL)?.ok_or_else(|| TvmError::NoGlobal { name: GLOBAL.to_owned() })?;
    let arguments =
        [RawArgument::Object(module), RawArgument::Text(name), RawArgument::Bool(imports)];
    match ffi::call(&getter, &arguments, &format_args!("getting {name:?} of {module_name:?}"))? {
        Returned::Function(object) => Ok(Function { object, name: name.to_owned() }),
        Returned::None => {
            Err(TvmError::NoFunction { module: module_name.to_owned(), name: name.to_owned() })
        }
        other => Err(unexpected("getting a function", "a function", &other.into())),
    }
}

/// An argument of [`Function::call`].
#[derive(Debug)]
pub enum Argument<'a> {
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(&'a str),
    /// A tensor the function reads.
    Tensor(&'a Tensor),
    /// A tensor the function writes, too.
    InPlace(&'a mut Tensor),
}

/// What a function returned.
#[derive(Debug)]
pub enum Value {
    /// Nothing.
    None,
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A number.
    Float(f64),
    /// A tensor.
    Tensor(Tensor),
    /// Several values.
    Array(Array),
    /// A value this crate has no use for, described.
    Other(String),
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Self::None => "nothing".to_owned(),
            Self::Int(value) => format!("the integer {value}"),
            Self::Bool(value) => format!("the truth value {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Tensor(tensor) => format!("a {} tensor {:?}", tensor.dtype(), tensor.extents()),
            Self::Array(_) => "an array".to_owned(),
            Self::Other(description) => description.clone(),
        }
    }
}

impl From<Returned> for Value {
    fn from(returned: Returned) -> Self {
        match returned {
            Returned::None => Self::None,
            Returned::Int(value) => Self::Int(value),
            Returned::Bool(value) => Self::Bool(value),
            Returned::Float(value) => Self::Float(value),
            Returned::Tensor(object) => Self::Tensor(Tensor(object.into())),
            Returned::Array(object) => Self::Array(Array(object)),
            Returned::Function(_) => Self::Other("a function".to_owned()),
            Returned::Module(_) => Self::Other("a module".to_owned()),
            Returned::Other(index) => Self::Other(format!("a value of type index {index}")),
        }
    }
}

impl Value {
    /// The tensors of what a model returned: one, or an array of them.
    ///
    /// # Errors
    /// [`TvmError::Type`] for anything else; [`TvmError::NoGlobal`], [`TvmError::Raised`].
    pub fn into_tensors(self) -> Result<Vec<Tensor>, TvmError> {
        match self {
            Self::Tensor(tensor) => Ok(vec![tensor]),
            Self::Array(array) => array.tensors(),
            other => Err(unexpected("reading results", "tensors", &other)),
        }
    }
}

/// An array of TVM's.
#[derive(Debug)]
pub struct Array(Object);

impl Array {
    fn tensors(&self) -> Result<Vec<Tensor>, TvmError> {
        let global = |name: &str| {
            ffi::global(name)?.ok_or_else(|| TvmError::NoGlobal { name: name.to_owned() })
        };
        let (size, item) = (global("ffi.ArraySize")?, global("ffi.ArrayGetItem")?);
        let count = match ffi::call(&size, &[RawArgument::Object(&self.0)], &"sizing an array")? {
            Returned::Int(count) => count,
            other => return Err(unexpected("sizing an array", "an integer", &other.into())),
        };
        (0..count)
            .map(|at| {
                let arguments = [RawArgument::Object(&self.0), RawArgument::Int(at)];
                match ffi::call(&item, &arguments, &"reading an array")? {
                    Returned::Tensor(object) => Ok(Tensor(object.into())),
                    other => Err(unexpected("reading an array", "a tensor", &other.into())),
                }
            })
            .collect()
    }
}

fn unexpected(doing: &str, expected: &'static str, found: &Value) -> TvmError {
    TvmError::Type { doing: doing.to_owned(), expected, found: found.describe() }
}

/// A function of TVM's.
#[derive(Debug)]
pub struct Function {
    object: Object,
    name: String,
}

impl Function {
    /// A function of the runtime's global registry.
    ///
    /// # Errors
    /// [`TvmError::NotLinked`], [`TvmError::NoGlobal`].
    pub fn global(name: &str) -> Result<Self, TvmError> {
        let object =
            ffi::global(name)?.ok_or_else(|| TvmError::NoGlobal { name: name.to_owned() })?;
        Ok(Self { object, name: name.to_owned() })
    }

    /// The name in messages: a model's prefix and entry, or a global name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls it; nothing is allocated here unless an argument is text.
    ///
    /// Compiled functions are trusted to write to nothing but [`Argument::InPlace`] tensors.
    ///
    /// # Errors
    /// [`TvmError::Raised`] with TVM's message, [`TvmError::TooManyArguments`],
    /// [`TvmError::NulInName`].
    pub fn call(&self, arguments: &[Argument<'_>]) -> Result<Value, TvmError> {
        if arguments.len() > MAX_ARGUMENTS {
            let given = arguments.len();
            return Err(TvmError::TooManyArguments { given, max: MAX_ARGUMENTS });
        }
        let mut raw = [RawArgument::Int(0); MAX_ARGUMENTS];
        for (slot, argument) in raw.iter_mut().zip(arguments) {
            *slot = match argument {
                Argument::Int(value) => RawArgument::Int(*value),
                Argument::Bool(value) => RawArgument::Bool(*value),
                Argument::Text(value) => RawArgument::Text(value),
                Argument::Tensor(tensor) => RawArgument::Object(tensor.0.object()),
                Argument::InPlace(tensor) => RawArgument::Object(tensor.0.object()),
            };
        }
        let doing = format_args!("calling {}", self.name);
        ffi::call(&self.object, &raw[..arguments.len()], &doing).map(Value::from)
    }

    /// [`Function::call`] for functions that return a tensor.
    ///
    /// # Errors
    /// The same, and [`TvmError::Type`].
    pub fn call_tensor(&self, arguments: &[Argument<'_>]) -> Result<Tensor, TvmError> {
        match self.call(arguments)? {
            Value::Tensor(tensor) => Ok(tensor),
            other => Err(unexpected(&format!("calling {}", self.name), "a tensor", &other)),
        }
    }
}
