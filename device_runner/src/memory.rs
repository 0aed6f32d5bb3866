//! The peak resident set.

#[cfg(any(not(target_os = "ios"), test))]
use std::fs;

/// Bytes of the process's peak resident set; none where the system does not report it.
#[cfg(target_os = "ios")]
pub use crate::apple::peak_bytes;

/// Bytes of the process's peak resident set (`VmHWM`) on Linux and Android; none elsewhere.
#[cfg(not(target_os = "ios"))]
pub fn peak_bytes() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)
}

#[cfg(any(not(target_os = "ios"), test))]
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_become_bytes() {
        assert_eq!(parse("VmPeak:\t  9 kB\nVmHWM:\t    1234 kB\n"), Some(1234 * 1024));
    }

    #[test]
    fn what_is_not_there_is_none() {
        for status in ["", "VmHWM:\n", "VmHWM: x kB\n", "VmHWM: 99999999999999999999 kB\n"] {
            assert_eq!(parse(status), None, "{status:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_grows_with_the_memory_touched() {
        let before = peak_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak_bytes().unwrap() >= before.max(64 << 20));
        drop(block);
    }
}
