//! Links the archive that the harness names, and compiles in the metadata that stands beside it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use charsiug2p_g2p_tvm_build::{archive_folder, forward_tvm_link, link_archive};

/// As `charsiug2p-g2p-pipeline` has it. That crate is no dependency of a build script, which would compile it twice.
const METADATA_FILE: &str = "system_lib_metadata.json";
/// `1` where the archive holds the two models of `tests/test_models.rs`.
const TWO_MODELS: &str = "CHARSIUG2P_TEST_MODELS";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={TWO_MODELS}");
    println!("cargo:rustc-check-cfg=cfg(two_models)");
    if env::var_os(TWO_MODELS).is_some_and(|value| value == "1") {
        println!("cargo:rustc-cfg=two_models");
    }
    forward_tvm_link();
    match link_archive().and_then(|_prefix| embed_metadata()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

/// An empty text without an archive, or where nothing stands beside it.
fn embed_metadata() -> Result<(), String> {
    let text = match archive_folder().map(|folder| folder.join(METADATA_FILE)) {
        Some(path) if path.is_file() => {
            println!("cargo:rerun-if-changed={}", path.display());
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        _ => String::new(),
    };
    let folder = env::var_os("OUT_DIR").ok_or("cargo gave no OUT_DIR")?;
    let path = PathBuf::from(folder).join("metadata.json");
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}
