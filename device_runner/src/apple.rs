//! What only iOS has and C reads: the machine, its features, the peak memory.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// Whether a processor's feature is there by the name that iOS 14 had for it or for what came with it; iOS 15
/// brought the `FEAT_` names, which are all that the standard library asks for most of them.
pub fn has_by_older_name(feature: &str) -> bool {
    match feature {
        "lse" | "rdm" => is_set(c"hw.optional.armv8_1_atomics"),
        "fp16" => is_set(c"hw.optional.neon_fp16"),
        "fhm" => is_set(c"hw.optional.armv8_2_fhm"),
        "fcma" | "rcpc" => is_set(c"hw.optional.armv8_3_compnum"),
        _ => false,
    }
}

fn is_set(name: &CStr) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>();
    // SAFETY: the name ends in a NUL, `value` has room for `length` bytes, nothing is set, and the call keeps no
    // pointer.
    let status = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            (&raw mut value).cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    status == 0 && value != 0
}

/// The model's identifier, such as `iPhone14,5`.
pub fn machine() -> Option<String> {
    let mut name = [0_u8; 64];
    let mut length = name.len();
    // SAFETY: the name ends in a NUL, `name` has room for `length` bytes, nothing is set, and the call keeps no
    // pointer.
    let status = unsafe {
        libc::sysctlbyname(
            c"hw.machine".as_ptr(),
            name.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    let text = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
    (status == 0 && !text.is_empty()).then(|| text.to_owned())
}

/// Bytes of the process's peak resident set.
pub fn peak_bytes() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the call fills the structure it is given, or answers other than 0.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    // Apple's systems count bytes here, others kilobytes.
    u64::try_from(usage.ru_maxrss).ok()
}
