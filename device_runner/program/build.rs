//! Links the archive that the harness names and compiles in its hash and the features of the processor that its kernels
//! need; passes on how TVM is linked.

use std::env;
use std::process::ExitCode;

use charsiug2p_g2p_tvm_build::{forward_tvm_link, link_archive};

const ARCHIVE_SHA256: &str = "HARNESS_ARCHIVE_SHA256";
const CPU_FEATURES: &str = "HARNESS_CPU_FEATURES";
/// `1`: without arguments the runner is an app, as it always is on iOS.
const APP: &str = "HARNESS_RUNNER_APP";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    for name in [ARCHIVE_SHA256, CPU_FEATURES, APP] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rustc-check-cfg=cfg(runner_app)");
    if value(APP) == "1" {
        println!("cargo:rustc-cfg=runner_app");
    }
    forward_tvm_link();
    match link_archive().and_then(describe_archive) {
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

fn describe_archive(prefix: Option<String>) -> Result<(), String> {
    if let Some(prefix) = prefix {
        println!("cargo:rustc-env=DEVICE_RUNNER_PREFIX={prefix}");
    }
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
