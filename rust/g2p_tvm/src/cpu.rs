//! What the processor has, by the names of the compiler's CPU features.

#[cfg(target_arch = "x86_64")]
macro_rules! detected {
    ($($name:tt),*) => {
        vec![$(($name, std::arch::is_x86_feature_detected!($name))),*]
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! detected {
    ($($name:tt),*) => {
        vec![$(($name, std::arch::is_aarch64_feature_detected!($name))),*]
    };
}

/// Every feature that kernels may depend on, and whether this processor has it.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn known_cpu_features() -> Vec<(&'static str, bool)> {
    detected!(
        "sse4.2",
        "popcnt",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "bmi1",
        "bmi2",
        "lzcnt",
        "movbe",
        "avx512f",
        "avx512bw",
        "avx512cd",
        "avx512dq",
        "avx512vl",
        "avx512vnni",
        "avx512bf16",
        "avx512fp16",
        "avxvnni"
    )
}

/// Every feature that kernels may depend on, and whether this processor has it. iOS has older names for some of them.
#[cfg(target_arch = "aarch64")]
#[must_use]
pub fn known_cpu_features() -> Vec<(&'static str, bool)> {
    detected!(
        "neon", "fp16", "dotprod", "i8mm", "bf16", "fhm", "fcma", "rdm", "rcpc", "lse", "sve",
        "sve2"
    )
}

/// Every feature that kernels may depend on: on other processors none.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[must_use]
pub fn known_cpu_features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

/// Those that this processor has.
#[must_use]
pub fn cpu_features() -> Vec<&'static str> {
    known_cpu_features().into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}
