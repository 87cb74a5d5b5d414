//! What this process may do.

use std::fs;

/// A capability, by its number in `linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    NetBindService = 10,
    NetAdmin = 12,
    SysAdmin = 21,
}

impl Capability {
    /// Whether this process has it. In a user namespace that can mean less than it says: only the kernel's refusal tells.
    pub(crate) fn is_here(self) -> bool {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << self as u32) != 0)
    }
}
