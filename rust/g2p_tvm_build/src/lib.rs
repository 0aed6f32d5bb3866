#![doc = include_str!("../README.md")]
// The README shows a whole build script.
#![allow(clippy::needless_doctest_main)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::path::{Path, PathBuf};

/// The path of an archive of compiled models. Without it the archive is the one that `charsiug2p-g2p-tvm` links; with it
/// that package, and all that depend on it, stay as they were compiled for another archive.
const ARCHIVE: &str = "HARNESS_ARCHIVE";
const ARCHIVE_PREFIX: &str = "HARNESS_ARCHIVE_PREFIX";
/// As `charsiug2p-g2p-tvm` links one.
const SYSTEM_LIB: &str = "G2P_TVM_SYSTEM_LIB";

/// Prints cargo's directives for run paths and for two cfgs: `g2p_tvm_linked` is set where TVM is linked, and
/// `g2p_tvm_model` where a model is linked that is not the smoke archive.
///
/// Call it from the build script of a package that depends on `charsiug2p-g2p-tvm` directly. Cargo shows the results
/// of that crate's build script to no other packages, and without them this function prints the names of the cfgs
/// alone.
pub fn forward_tvm_link() {
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_linked)");
    println!("cargo:rustc-check-cfg=cfg(g2p_tvm_model)");
    for path in env::split_paths(&env::var_os("DEP_G2P_TVM_RPATHS").unwrap_or_default()) {
        if !path.as_os_str().is_empty() {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", path.display());
        }
    }
    if env::var_os("DEP_G2P_TVM_LINKED").is_some() {
        println!("cargo:rustc-cfg=g2p_tvm_linked");
    }
    if env::var_os("DEP_G2P_TVM_ARCHIVE").is_some_and(|kind| kind == "model") {
        println!("cargo:rustc-cfg=g2p_tvm_model");
    }
}

fn value(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Links the archive of `HARNESS_ARCHIVE`, if it is set, and returns its prefix.
///
/// The archive is linked whole: nothing refers to what registers its models. Only the package whose build script calls
/// this is compiled again for another archive.
///
/// # Errors
/// A variable with a value that cannot be used, for `cargo::error`.
pub fn link_archive() -> Result<Option<String>, String> {
    for name in [ARCHIVE, ARCHIVE_PREFIX] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let text = value(ARCHIVE);
    if text.is_empty() {
        return Ok(None);
    }
    let path = Path::new(&text);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let library = name.strip_prefix("lib").and_then(|rest| rest.strip_suffix(".a"));
    let (true, Some(folder), Some(library)) = (path.is_absolute(), path.parent(), library) else {
        return Err(format!("{ARCHIVE}: {text} is not the absolute path of a file lib*.a"));
    };
    if !path.is_file() {
        return Err(format!("{ARCHIVE}: there is no file {text}"));
    }
    let prefix = value(ARCHIVE_PREFIX);
    let symbol = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if prefix.is_empty() || !symbol {
        return Err(format!("{ARCHIVE_PREFIX}: {prefix:?} cannot begin a C symbol"));
    }
    println!("cargo:rerun-if-changed={text}");
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=static:+whole-archive,-bundle={library}");
    Ok(Some(prefix))
}

/// The folder of the archive that is linked, where its metadata stands: of `HARNESS_ARCHIVE`, else of
/// `G2P_TVM_SYSTEM_LIB`.
#[must_use]
pub fn archive_folder() -> Option<PathBuf> {
    println!("cargo:rerun-if-env-changed={SYSTEM_LIB}");
    let path = [ARCHIVE, SYSTEM_LIB].map(value).into_iter().find(|value| !value.is_empty())?;
    Path::new(&path).parent().map(Path::to_path_buf)
}
