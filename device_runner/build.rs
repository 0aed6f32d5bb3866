//! Hands on how TVM is linked and compiles in the hash of the archive.

include!("../rust/g2p_tvm/build/forward.rs");

const ARCHIVE_SHA256: &str = "HARNESS_ARCHIVE_SHA256";

fn main() -> std::process::ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../rust/g2p_tvm/build/forward.rs");
    println!("cargo:rerun-if-env-changed={ARCHIVE_SHA256}");
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
    std::process::ExitCode::SUCCESS
}
