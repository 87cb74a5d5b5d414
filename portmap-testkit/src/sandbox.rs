//! The way out of the real host's network.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::error::LabError;
use crate::link;

/// With which rights the process left the real host's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// As the machine's root: a network namespace alone.
    Root,
    /// As root of a user namespace (made by [`enter`], or the process was born in one).
    UserNamespace,
}

/// Leaves the real host's network: the process gets a network namespace of its own, with nothing in
/// it but a loopback interface that is up.
///
/// Call it first in `main`, while the process has one thread. Without the right to make a network
/// namespace it makes a user namespace first, in which the process is root.
///
/// # Errors
/// [`EnterError::Threads`] when other threads exist, [`EnterError::UserNamespaces`] where an
/// ordinary user may not have a user namespace (it names the sysctls to look at). In the latter case
/// the process may have left its old user namespace: don't go on as if nothing had happened.
pub fn enter() -> Result<Sandbox, EnterError> {
    let threads = fs::read_dir("/proc/self/task").map_err(EnterError::Namespace)?.count();
    if threads != 1 {
        return Err(EnterError::Threads(threads));
    }
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            raise_loopback().map_err(EnterError::Loopback)?;
            Ok(if is_initial_user_namespace() { Sandbox::Root } else { Sandbox::UserNamespace })
        }
        Err(nix::Error::EPERM) => {
            let refused = |source| EnterError::UserNamespaces { source, settings: settings() };
            become_root_of_user_namespace().map_err(refused)?;
            // AppArmor may grant the namespace and withhold the capabilities: seen here first.
            raise_loopback().map_err(|error| refused(io::Error::other(error)))?;
            Ok(Sandbox::UserNamespace)
        }
        Err(error) => Err(EnterError::Namespace(error.into())),
    }
}

fn become_root_of_user_namespace() -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    // The kernel takes a gid_map from an ordinary user only after setgroups is given up.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

fn raise_loopback() -> Result<(), LabError> {
    use crate::error::Step;

    // A current_thread runtime starts no thread: the caller may go on to unshare.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .step(|| "start a runtime".to_owned())?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().step(|| "open a netlink socket".to_owned())?;
        tokio::spawn(connection);
        link::up(&handle, link::LOOPBACK).await
    })
}

/// The first user namespace maps every id to itself; nobody else may write such a map.
fn is_initial_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

fn settings() -> String {
    let read = |(name, path): (&str, &str)| {
        let value = fs::read_to_string(path).ok()?;
        Some(format!("{name} = {}", value.trim()))
    };
    let found: Vec<String> = [
        ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone"),
        ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        ),
    ]
    .into_iter()
    .filter_map(read)
    .collect();
    found.join(", ")
}

/// The process could not leave the real host's network.
#[derive(Debug)]
#[non_exhaustive]
pub enum EnterError {
    /// The process has this many threads: those that exist would stay behind in the real network.
    Threads(usize),
    /// The kernel refused a network namespace, for a reason other than missing rights.
    Namespace(io::Error),
    /// An ordinary user may not have a user namespace here, or not use it.
    UserNamespaces {
        /// The kernel's answer.
        source: io::Error,
        /// The sysctls that forbid it and their values, as far as this kernel has them.
        settings: String,
    },
    /// The loopback interface of the new namespace could not be brought up.
    Loopback(LabError),
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads(count) => {
                write!(f, "the process has {count} threads: enter the sandbox first in main")
            }
            Self::Namespace(_) => f.write_str("the kernel refused a network namespace"),
            Self::UserNamespaces { settings, .. } => write!(
                f,
                "not root, and user namespaces are forbidden (look at kernel.unprivileged_userns_clone, \
                 user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; here: {settings})"
            ),
            Self::Loopback(_) => f.write_str("the loopback interface did not come up"),
        }
    }
}

impl Error for EnterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Threads(_) => None,
            Self::Namespace(source) | Self::UserNamespaces { source, .. } => Some(source),
            Self::Loopback(source) => Some(source),
        }
    }
}
