//! Links the archive that the harness names and compiles in its hash and the features of the processor that its kernels
//! need; passes on how TVM is linked.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use charsiug2p_g2p_tvm_build::forward_tvm_link;

/// The path of an archive of compiled models. Without it the archive is the one that `charsiug2p-g2p-tvm` links; with it
/// that package, and all that depend on it, stay as they were compiled for another archive.
const ARCHIVE: &str = "HARNESS_ARCHIVE";
const ARCHIVE_PREFIX: &str = "HARNESS_ARCHIVE_PREFIX";
const ARCHIVE_SHA256: &str = "HARNESS_ARCHIVE_SHA256";
const CPU_FEATURES: &str = "HARNESS_CPU_FEATURES";
/// `1`: without arguments the runner is an app, as it always is on iOS.
const APP: &str = "HARNESS_RUNNER_APP";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    for name in [ARCHIVE, ARCHIVE_PREFIX, ARCHIVE_SHA256, CPU_FEATURES, APP] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rustc-check-cfg=cfg(runner_app)");
    if value(APP) == "1" {
        println!("cargo:rustc-cfg=runner_app");
    }
    forward_tvm_link();
    match link_archive().and_then(|()| describe_archive()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn value(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// The archive is linked whole: nothing refers to what registers its models.
fn link_archive() -> Result<(), String> {
    let text = value(ARCHIVE);
    if text.is_empty() {
        return Ok(());
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
    println!("cargo:rustc-env=DEVICE_RUNNER_PREFIX={prefix}");
    Ok(())
}

fn describe_archive() -> Result<(), String> {
    let hash = value(ARCHIVE_SHA256);
    let hash = if hash.is_empty() { "unknown".to_owned() } else { hash };
    let hexadecimal =
        hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hash != "unknown" && !hexadecimal {
        return Err(format!("{ARCHIVE_SHA256}: {hash:?} is not 64 lower-case hexadecimal digits"));
    }
    println!("cargo:rustc-env=DEVICE_RUNNER_ARCHIVE_SHA256={hash}");
    let features = value(CPU_FEATURES);
    let name = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
    };
    if !features.is_empty() && !features.split(',').all(name) {
        return Err(format!("{CPU_FEATURES}: {features:?} is not names separated by commas"));
    }
    println!("cargo:rustc-env=DEVICE_RUNNER_CPU_FEATURES={features}");
    Ok(())
}
