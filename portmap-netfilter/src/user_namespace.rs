//! Whether numbers of users mean what they mean on the host.

use std::fs;

/// Whether this process is in a user namespace: the first one maps every number to itself.
pub(crate) fn is_inner() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]))
}
