//! The lock file of legacy iptables.

use std::{
    env,
    fs::{self, OpenOptions},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The variable that tells iptables (1.8.3 and up) where its lock file is.
pub(super) const VARIABLE: &str = "XTABLES_LOCKFILE";

const USUAL: &str = "/run/xtables.lock";

/// Another lock file where the usual one can't be written, as in a user namespace: legacy iptables refuses to work
/// without. It is called after the network namespace, whose rules it protects.
pub(super) fn elsewhere() -> Option<PathBuf> {
    if env::var_os(VARIABLE).is_some() || is_writable(Path::new(USUAL)) {
        return None;
    }
    let directory = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |net| net.ino());
    Some(directory.join(format!("xtables-{namespace}.lock")))
}

fn is_writable(file: &Path) -> bool {
    // As iptables opens it: the file is created where it may be.
    OpenOptions::new().create(true).truncate(false).write(true).open(file).is_ok()
}
