//! What the system reports about the machine, as records hold it.

use serde::Serialize;

/// The `cpu` of a header record.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Cpu {
    pub model: String,
    pub cores: usize,
    pub features: Vec<&'static str>,
}

/// The words of `NSProcessInfo.thermalState`.
// A user's app on iOS reads no state.
#[cfg_attr(all(target_os = "ios", not(feature = "program")), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Nominal,
    Fair,
    Serious,
    Critical,
}
