//! From the `G2P_TVM_*` variables and a target to the lines cargo gets: a pure module, so that every
//! variable and every bad value is tested without a linker (`tests/test_plan.rs`).
//!
//! Static libraries are linked whole: the models' and the runtime's registration code is referenced
//! by nothing. `-bundle` keeps them out of the rlib, so that the modifiers reach the final link of
//! every crate that depends on this one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub const SYSTEM_LIB: &str = "G2P_TVM_SYSTEM_LIB";
pub const SYSTEM_LIB_PREFIX: &str = "G2P_TVM_SYSTEM_LIB_PREFIX";
pub const RUNTIME_LIB: &str = "G2P_TVM_RUNTIME_LIB";
pub const STATIC_LINK: &str = "G2P_TVM_STATIC_LINK";
pub const FFI_LIB_DIR: &str = "G2P_TVM_FFI_LIB_DIR";
pub const FFI_STATIC_NAME: &str = "G2P_TVM_FFI_STATIC_NAME";
pub const LINK_FFI_TESTING: &str = "G2P_TVM_LINK_FFI_TESTING";

/// Every variable honoured, for `rerun-if-env-changed`.
pub const VARIABLES: [&str; 7] = [
    SYSTEM_LIB,
    SYSTEM_LIB_PREFIX,
    RUNTIME_LIB,
    STATIC_LINK,
    FFI_LIB_DIR,
    FFI_STATIC_NAME,
    LINK_FFI_TESTING,
];

/// Prefix base when nobody sets one.
pub const DEFAULT_PREFIX: &str = "g2p_";
/// Prefix base of the smoke archive that `system_lib_smoke` needs.
pub const SMOKE_PREFIX: &str = "g2p_test_";

/// `CARGO_CFG_TARGET_OS` and `CARGO_CFG_TARGET_ENV`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    pub os: &'a str,
    pub env: &'a str,
}

impl Target<'_> {
    fn is_apple(self) -> bool {
        matches!(self.os, "macos" | "ios" | "tvos" | "visionos" | "watchos")
    }

    fn dylib(self, name: &str) -> String {
        format!("lib{name}.{}", if self.is_apple() { "dylib" } else { "so" })
    }
}

/// What the plan asks of the machine.
pub trait Machine {
    fn is_file(&self, path: &Path) -> bool;
    fn is_dir(&self, path: &Path) -> bool;
    /// Where the C++ compiler keeps one of its own libraries (`-print-file-name`).
    fn compiler_library(&self, name: &str) -> Option<PathBuf>;
}

/// A variable with a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    pub variable: &'static str,
    pub reason: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (docs/rust.md lists the variables)", self.variable, self.reason)
    }
}

fn bad<T>(variable: &'static str, reason: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError { variable, reason: reason.into() })
}

/// What the build script prints for cargo.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Whether TVM is linked at all; without any variable the crates compile, and calls return an error.
    pub linked: bool,
    /// Whether TVM's own test functions are linked, too.
    pub testing: bool,
    /// Prefix base compiled in.
    pub prefix: String,
    /// Folder of the model archive, where its metadata stands.
    pub system_lib_dir: Option<PathBuf>,
    /// Folders that a dynamically linked program searches at run time.
    pub rpaths: Vec<PathBuf>,
    /// Lines for cargo, in order.
    pub directives: Vec<String>,
}

/// The plan for these variables; an empty value counts as unset.
pub fn plan(
    variables: &BTreeMap<String, String>,
    target: Target<'_>,
    machine: &dyn Machine,
) -> Result<Plan, PlanError> {
    Planner { variables, target, machine, plan: Plan::default(), libraries: Vec::new() }.run()
}

struct Planner<'a> {
    variables: &'a BTreeMap<String, String>,
    target: Target<'a>,
    machine: &'a dyn Machine,
    plan: Plan,
    /// Folder and file of each library that the linker will look for by name.
    libraries: Vec<(PathBuf, String)>,
}

impl Planner<'_> {
    fn run(mut self) -> Result<Plan, PlanError> {
        self.plan.prefix = self.prefix()?;
        let statically = self.flag(STATIC_LINK)?;
        let testing = self.flag(LINK_FFI_TESTING)?;
        let archive = self.file(SYSTEM_LIB)?;
        let Some(runtime) = self.file(RUNTIME_LIB)? else {
            let needing = [SYSTEM_LIB, STATIC_LINK, FFI_LIB_DIR, FFI_STATIC_NAME, LINK_FFI_TESTING];
            return match needing.into_iter().find(|name| self.value(name).is_some()) {
                Some(name) => bad(
                    RUNTIME_LIB,
                    format!(
                        "{name} is set, but without {RUNTIME_LIB} there is no TVM runtime to link: \
                         set it to the path of libtvm_runtime.a or {}",
                        self.target.dylib("tvm_runtime")
                    ),
                ),
                None => Ok(self.plan),
            };
        };
        self.plan.linked = true;
        self.plan.testing = testing;
        if let Some(archive) = archive {
            self.plan.system_lib_dir = archive.parent().map(Path::to_path_buf);
            self.whole_archive(SYSTEM_LIB, &archive)?;
        }
        let ffi_dir = self.ffi_dir(&runtime)?;
        if statically {
            self.static_runtime(&runtime, &ffi_dir, testing)?;
        } else {
            self.dynamic_runtime(&runtime, &ffi_dir, testing)?;
        }
        self.refuse_shadowed()?;
        Ok(self.plan)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn flag(&self, name: &'static str) -> Result<bool, PlanError> {
        match self.value(name) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => bad(name, format!("{other:?} is neither 1 nor 0")),
        }
    }

    fn prefix(&self) -> Result<String, PlanError> {
        let prefix = self.value(SYSTEM_LIB_PREFIX).unwrap_or(DEFAULT_PREFIX);
        let symbol = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !prefix.starts_with(|c: char| c.is_ascii_digit());
        if symbol {
            Ok(prefix.to_owned())
        } else {
            bad(SYSTEM_LIB_PREFIX, format!("{prefix:?} cannot begin a C symbol"))
        }
    }

    fn absolute(name: &'static str, text: &str) -> Result<PathBuf, PlanError> {
        let path = PathBuf::from(text);
        if path.is_absolute() {
            Ok(path)
        } else {
            // Cargo runs build scripts in the package's folder, not in the caller's.
            bad(name, format!("{text} is not an absolute path"))
        }
    }

    fn file(&self, name: &'static str) -> Result<Option<PathBuf>, PlanError> {
        let Some(text) = self.value(name) else {
            return Ok(None);
        };
        let path = Self::absolute(name, text)?;
        if self.machine.is_file(&path) {
            Ok(Some(path))
        } else {
            bad(name, format!("there is no file {text}"))
        }
    }

    /// The variable's folder, or by default the one that contains the runtime.
    fn ffi_dir(&self, runtime: &Path) -> Result<PathBuf, PlanError> {
        let Some(text) = self.value(FFI_LIB_DIR) else {
            return Ok(runtime.parent().unwrap_or(runtime).to_path_buf());
        };
        let dir = Self::absolute(FFI_LIB_DIR, text)?;
        if self.machine.is_dir(&dir) {
            Ok(dir)
        } else {
            bad(FFI_LIB_DIR, format!("there is no folder {text}"))
        }
    }

    fn emit(&mut self, line: String) {
        if !self.plan.directives.contains(&line) {
            self.plan.directives.push(line);
        }
    }

    fn search(&mut self, path: &Path, file: &str) {
        let dir = path.to_path_buf();
        self.emit(format!("cargo:rustc-link-search=native={}", dir.display()));
        self.libraries.push((dir, file.to_owned()));
    }

    fn whole_archive(&mut self, variable: &'static str, path: &Path) -> Result<(), PlanError> {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = file.strip_prefix("lib").and_then(|rest| rest.strip_suffix(".a")) else {
            return bad(variable, format!("{} is not named lib*.a", path.display()));
        };
        self.emit(format!("cargo:rerun-if-changed={}", path.display()));
        self.search(path.parent().unwrap_or(path), file);
        self.emit(format!("cargo:rustc-link-lib=static:+whole-archive,-bundle={name}"));
        Ok(())
    }

    fn in_ffi_dir(&self, variable: &'static str, path: PathBuf) -> Result<PathBuf, PlanError> {
        if self.machine.is_file(&path) {
            Ok(path)
        } else {
            bad(variable, format!("there is no file {}", path.display()))
        }
    }

    fn static_runtime(&mut self, runtime: &Path, ffi: &Path, test: bool) -> Result<(), PlanError> {
        if runtime.extension().is_none_or(|extension| extension != "a") {
            return bad(
                RUNTIME_LIB,
                format!("{} is no static library, but {STATIC_LINK}=1", runtime.display()),
            );
        }
        self.whole_archive(RUNTIME_LIB, runtime)?;
        let (variable, name) = match self.value(FFI_STATIC_NAME) {
            Some(name) => (FFI_STATIC_NAME, name),
            None => (FFI_LIB_DIR, "tvm_ffi"),
        };
        let path = self.in_ffi_dir(variable, ffi.join(format!("lib{name}.a")))?;
        self.whole_archive(variable, &path)?;
        if test {
            let path = self.in_ffi_dir(LINK_FFI_TESTING, ffi.join("libtvm_ffi_testing.a"))?;
            self.whole_archive(LINK_FFI_TESTING, &path)?;
        }
        self.cxx_runtime()
    }

    /// The C++ library that the static runtime needs, static itself where the platform has no
    /// shared one of its own.
    fn cxx_runtime(&mut self) -> Result<(), PlanError> {
        match self.target {
            target if target.is_apple() => self.emit("cargo:rustc-link-lib=dylib=c++".to_owned()),
            Target { os: "android", .. } => {
                for library in ["static:-bundle=c++_static", "static:-bundle=c++abi", "dylib=log"] {
                    self.emit(format!("cargo:rustc-link-lib={library}"));
                }
            }
            // zig's own libc++, which it links statically under either kind.
            Target { env: "musl", .. } => {
                self.emit("cargo:rustc-link-lib=dylib=c++".to_owned());
                self.emit("cargo:rustc-link-lib=dylib=c++abi".to_owned());
            }
            Target { os: "linux", env: "gnu" } => {
                // gcc_eh stands before Rust's own -lgcc_s, which --as-needed then drops.
                for name in ["stdc++", "gcc_eh"] {
                    let file = format!("lib{name}.a");
                    let Some(path) = self.machine.compiler_library(&file) else {
                        return bad(
                            STATIC_LINK,
                            format!(
                                "the C++ compiler does not find {file}: install g++ or set CXX to a \
                                 compiler that comes with it"
                            ),
                        );
                    };
                    self.search(path.parent().unwrap_or(&path), &file);
                    self.emit(format!("cargo:rustc-link-lib=static:-bundle={name}"));
                }
            }
            Target { os, env } => {
                return bad(STATIC_LINK, format!("no C++ library is known for {os} {env}"));
            }
        }
        Ok(())
    }

    fn dynamic_runtime(&mut self, runtime: &Path, ffi: &Path, test: bool) -> Result<(), PlanError> {
        let expected = self.target.dylib("tvm_runtime");
        if runtime.file_name().is_none_or(|name| name != expected.as_str()) {
            return bad(
                RUNTIME_LIB,
                format!(
                    "{} is not {expected}; set {STATIC_LINK}=1 to link libtvm_runtime.a",
                    runtime.display()
                ),
            );
        }
        let runtime_dir = runtime.parent().unwrap_or(runtime);
        let mut wanted = vec![(RUNTIME_LIB, runtime_dir, "tvm_runtime")];
        wanted.push((FFI_LIB_DIR, ffi, "tvm_ffi"));
        if test {
            wanted.push((LINK_FFI_TESTING, ffi, "tvm_ffi_testing"));
        }
        for (variable, dir, name) in wanted {
            let file = self.target.dylib(name);
            let path = self.in_ffi_dir(variable, dir.join(&file))?;
            self.emit(format!("cargo:rerun-if-changed={}", path.display()));
            self.search(dir, &file);
            self.emit(format!("cargo:rustc-link-lib=dylib={name}"));
            if !self.plan.rpaths.iter().any(|known| known == dir) {
                self.plan.rpaths.push(dir.to_path_buf());
            }
        }
        Ok(())
    }

    /// The linker takes the first file of a name along the search path. A second one of that name in
    /// an earlier folder would be linked in silence instead of the one the variable names.
    fn refuse_shadowed(&self) -> Result<(), PlanError> {
        let folders: Vec<&PathBuf> = self.libraries.iter().map(|(dir, _)| dir).collect();
        for (at, (dir, file)) in self.libraries.iter().enumerate() {
            let shadow = folders[..at]
                .iter()
                .find(|earlier| **earlier != dir && self.machine.is_file(&earlier.join(file)));
            if let Some(shadow) = shadow {
                return bad(
                    RUNTIME_LIB,
                    format!(
                        "{} would be linked instead of {}: keep only one of them",
                        shadow.join(file).display(),
                        dir.join(file).display()
                    ),
                );
            }
        }
        Ok(())
    }
}
