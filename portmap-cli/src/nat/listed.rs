//! What is said of connections that NAT serves.

use std::fs;

/// Where the kernel says whether it counts.
const COUNTS: &str = "/proc/sys/net/netfilter/nf_conntrack_acct";

/// How such connections (`what`) come to be listed, and what the list lacks.
pub(crate) fn listed(what: &str) -> Vec<String> {
    let looked =
        "from connection tracking, looked at once a second: what it forgets sooner is not seen";
    let mut lines = vec![format!("{what} listed {looked}")];
    if fs::read_to_string(COUNTS).map_or(true, |value| value.trim() == "0") {
        lines.push(
            "their bytes are not counted: net.netfilter.nf_conntrack_acct=1 would".to_owned(),
        );
    }
    lines
}
