//! The exit statuses of a runner.

/// The result ends with status ok.
pub const OK: u8 = 0;
/// The result ends with status error.
pub const FAILED: u8 = 1;
/// There is no result.
pub const USAGE: u8 = 2;
