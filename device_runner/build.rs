//! Hands on how TVM is linked and compiles in the archive's hash and the features
//! of the processor that its kernels need.

use charsiug2p_g2p_tvm_build::forward_tvm_link;

const ARCHIVE_SHA256: &str = "HARNESS_ARCHIVE_SHA256";
const CPU_FEATURES: &str = "HARNESS_CPU_FEATURES";
/// `1`: without arguments the runner is an app, as it always is on iOS.
const APP: &str = "HARNESS_RUNNER_APP";

fn main() -> std::process::ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={ARCHIVE_SHA256}");
    println!("cargo:rerun-if-env-changed={CPU_FEATURES}");
    println!("cargo:rerun-if-env-changed={APP}");
    println!("cargo:rustc-check-cfg=cfg(runner_app)");
    if std::env::var(APP).is_ok_and(|value| value == "1") {
        println!("cargo:rustc-cfg=runner_app");
    }
    forward_tvm_link();
    let hash = std::env::var(ARCHIVE_SHA256).unwrap_or_default();
    let hash = if hash.is_empty() { "unknown".to_owned() } else { hash };
    let hexadecimal =
        hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hash != "unknown" && !hexadecimal {
        println!("cargo::error={ARCHIVE_SHA256}: {hash:?} is not 64 lower-case hexadecimal digits");
        return std::process::ExitCode::FAILURE;
    }
    println!("cargo:rustc-env=DEVICE_RUNNER_ARCHIVE_SHA256={hash}");
    let features = std::env::var(CPU_FEATURES).unwrap_or_default();
    let name = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
    };
    if !features.is_empty() && !features.split(',').all(name) {
        println!("cargo::error={CPU_FEATURES}: {features:?} is not names separated by commas");
        return std::process::ExitCode::FAILURE;
    }
    println!("cargo:rustc-env=DEVICE_RUNNER_CPU_FEATURES={features}");
    std::process::ExitCode::SUCCESS
}
