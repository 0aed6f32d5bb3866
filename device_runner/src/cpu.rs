//! The processor's name and features.

use std::thread;

use charsiug2p_g2p_tvm::known_cpu_features;
use charsiug2p_workload::{Failure, FailureKind};

use crate::readings::Cpu;

/// This machine's.
pub fn detect() -> Cpu {
    Cpu {
        model: model(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        features: features(),
    }
}

/// Refuses a processor on which the kernels would end in SIGILL.
pub fn require(needed: &[&str]) -> Result<(), Failure> {
    let cpu = detect();
    let missing: Vec<&str> =
        needed.iter().filter(|name| !cpu.features.contains(name)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this processor ({}) has no {}, which the kernels were compiled for: compile for an older one with --mcpu",
        cpu.model,
        missing.join(", ")
    );
    Err(Failure::new(FailureKind::Cpu, message))
}

/// The phone's, which has one processor.
#[cfg(target_os = "ios")]
fn model() -> String {
    crate::apple::machine().unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(not(target_os = "ios"))]
fn model() -> String {
    parse(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The processor's name from `/proc/cpuinfo`: as written on x86, the implementer and part of each
/// kind of core on ARM, where phones have several.
#[cfg(any(not(target_os = "ios"), test))]
fn parse(cpuinfo: &str) -> String {
    let values = |wanted: &str| {
        let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let values = lines.filter(|(key, _)| key.trim() == wanted).map(|(_, value)| value.trim());
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    if let Some(name) = values("model name").into_iter().next() {
        return name;
    }
    let mut cores: Vec<String> = values("CPU implementer")
        .into_iter()
        .zip(values("CPU part"))
        .map(|(implementer, part)| format!("{implementer}/{part}"))
        .collect();
    cores.sort();
    cores.dedup();
    if cores.is_empty() {
        "unknown".to_owned()
    } else {
        format!("ARM {}", cores.join(" "))
    }
}

/// Those that the compiled kernels may depend on.
fn features() -> Vec<&'static str> {
    let known = known_cpu_features();
    let found = known.into_iter().filter(|(name, has)| *has || has_by_older_name(name));
    found.map(|(name, _)| name).collect()
}

#[cfg(target_os = "ios")]
use crate::apple::has_by_older_name;

/// Other systems have one name for a feature.
#[cfg(not(target_os = "ios"))]
fn has_by_older_name(_feature: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_both_kinds_of_cpuinfo() {
        let x86 = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n\nprocessor : 1\n";
        assert_eq!(parse(x86), "Some CPU @ 2 GHz");
        let arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\n\
                   CPU implementer\t: 0x41\nCPU part\t: 0xd05\n\n\
                   CPU implementer\t: 0x41\nCPU part\t: 0xd05\n";
        assert_eq!(parse(arm), "ARM 0x41/0xd05 0x41/0xd0b");
        assert_eq!(parse(""), "unknown");
    }

    #[test]
    fn what_is_missing_is_named_and_only_that() {
        let here = detect().features;
        require(&here).unwrap();
        let mut needed = here;
        needed.push("third-hand");
        let failure = require(&needed).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Cpu);
        assert!(failure.message.contains("has no third-hand, which"), "{}", failure.message);
    }

    #[test]
    fn this_machine_has_a_core() {
        assert!(detect().cores >= 1);
    }
}
