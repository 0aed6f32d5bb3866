//! The program that the harness puts on a device: `device_runner` with one archive linked in.

use std::process::ExitCode;

use charsiug2p_g2p_tvm::{compiled_prefix, compiled_system_lib_dir};
use device_runner::Linked;

/// As the harness links an archive, by `HARNESS_ARCHIVE`.
const PREFIX: Option<&str> = option_env!("DEVICE_RUNNER_PREFIX");

fn main() -> ExitCode {
    // Or as `charsiug2p-g2p-tvm` links one, by `G2P_TVM_SYSTEM_LIB`.
    let prefix = PREFIX.or_else(|| compiled_system_lib_dir().map(|_| compiled_prefix()));
    device_runner::main(&Linked {
        archive_sha256: env!("DEVICE_RUNNER_ARCHIVE_SHA256"),
        prefix,
        cpu_features: env!("DEVICE_RUNNER_CPU_FEATURES"),
        app: cfg!(any(target_os = "ios", runner_app)),
    })
}
