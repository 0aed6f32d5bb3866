//! Links the archive that the harness names, and compiles in the files next to it: metadata, and tokenizers.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use charsiug2p_g2p_tvm_build::{archive_folder, forward_tvm_link, link_archive};

/// As `charsiug2p-g2p-pipeline` has it. That crate is no dependency of a build script, which would compile it twice.
const METADATA_FILE: &str = "system_lib_metadata.json";
/// The end of the name of a tokenizer's file. The rest is the model's name.
const TOKENIZER: &str = ".tokenizer.json";
/// `1` where the archive holds the models of `tests/`.
const TEST_MODELS: &str = "CHARSIUG2P_TEST_MODELS";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={TEST_MODELS}");
    println!("cargo:rustc-check-cfg=cfg(test_models)");
    if env::var_os(TEST_MODELS).is_some_and(|value| value == "1") {
        println!("cargo:rustc-cfg=test_models");
    }
    forward_tvm_link();
    match link_archive().and_then(|_prefix| embed_metadata()).and_then(|()| embed_tokenizers()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

/// An empty text without an archive, or where nothing is next to it.
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

/// A table of the tokenizers by their models, which is empty without the feature.
fn embed_tokenizers() -> Result<(), String> {
    let mut table = "/// The content of each model's `tokenizer.json`.\n".to_owned();
    table.push_str("const TOKENIZERS: &[(&str, &[u8])] = &[\n");
    let folder = archive_folder().filter(|_| env::var_os("CARGO_FEATURE_TOKENIZER").is_some());
    if let Some(folder) = folder {
        let failed = |error| format!("{}: {error}", folder.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(model) = name.and_then(|name| name.strip_suffix(TOKENIZER)) else { continue };
            let text = path.to_str().ok_or_else(|| format!("{}: not UTF-8", path.display()))?;
            println!("cargo:rerun-if-changed={}", path.display());
            // Formatted for debugging both are literals of Rust.
            writeln!(table, "    ({model:?}, include_bytes!({text:?}) as &[u8]),")
                .map_err(|error| error.to_string())?;
        }
    }
    table.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or("cargo gave no OUT_DIR")?;
    let path = PathBuf::from(out).join("tokenizers.rs");
    fs::write(&path, table).map_err(|error| format!("{}: {error}", path.display()))
}
