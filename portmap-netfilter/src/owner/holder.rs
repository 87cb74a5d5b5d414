//! Who has taken what an owner needs.

use std::{fmt, fs, io};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::name;
use crate::{
    netlink::{Attrs, Message, Socket, Writer, fold_with_heads},
    user_namespace,
};

// From linux/sock_diag.h and linux/unix_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_UNIX: u8 = 1;
const SOCK_DGRAM: u8 = 2;
const UDIAG_SHOW_NAME: u32 = 0x01;
const UDIAG_SHOW_UID: u32 = 0x40;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_UID: u16 = 7;
/// As whom a user namespace shows everybody whom it has no number for: the host's root, say.
const OVERFLOW_UID: u32 = 65534;
/// What stands in an answer between the first four bytes and the attributes: the socket's inode, and a cookie.
const INODE_AND_COOKIE: usize = 12;

/// A process: its name, which it chooses, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub name: String,
    pub pid: u32,
}

/// Who has taken an owner's address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NameHolder {
    /// The user whose socket it is, as this user namespace has it; `None` where it has none for that one, or where the
    /// kernel does not tell, as before Linux 5.3.
    uid: Option<u32>,
    /// `None` where it may not be seen.
    process: Option<Process>,
}

impl NameHolder {
    /// Looks for the socket that has the address of a prefix in the network namespace of the calling thread.
    pub(super) fn find(owned: &str) -> Option<Self> {
        let found = match sockets(owned) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "the kernel does not list Unix sockets");
                return None;
            }
        };
        // Should there be several, who may be more than an ordinary user counts.
        let (inode, uid) = found.into_iter().min_by_key(|(_, uid)| is_ordinary(*uid))?;
        Some(Self { uid, process: process_with(inode) })
    }

    /// Whether it is surely the process of an ordinary user.
    pub(super) fn is_ordinary(&self) -> bool {
        is_ordinary(self.uid)
    }
}

fn is_ordinary(uid: Option<u32>) -> bool {
    uid.is_some_and(|uid| uid != 0)
}

impl fmt::Display for NameHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { process: Some(process), .. } => process.fmt(f),
            Self { uid: Some(uid), .. } => write!(f, "a process of user {uid}"),
            _ => f.write_str("another process"),
        }
    }
}

impl Process {
    /// The calling one.
    pub(super) fn own() -> Self {
        Self { name: comm("self"), pid: std::process::id() }
    }
}

impl fmt::Display for Process {
    /// `dockerd (pid 448)`. What a terminal would take for more than letters is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.name.chars() {
            match char {
                ' '..='~' if char != '\\' => write!(f, "{char}")?,
                _ => write!(f, "{}", char.escape_default())?,
            }
        }
        write!(f, " (pid {})", self.pid)
    }
}

/// The inode and the user of the socket that has a prefix's address. There is one; but the listing is no snapshot.
///
/// Each type of socket has addresses of its own: one of another type has nothing that an owner could have.
fn sockets(owned: &str) -> io::Result<Vec<(u32, Option<u32>)>> {
    let socket = Socket::open_to(NETLINK_SOCK_DIAG)?;
    let mut request = Writer::default();
    let head = Message {
        kind: SOCK_DIAG_BY_FAMILY,
        flags: NLM_F_REQUEST | NLM_F_DUMP,
        sequence: 0,
        family: AF_UNIX,
        resource: 0,
    };
    // Behind the family: sockets in any state, none in particular, what to show of them, and no cookie.
    let asked = [u32::MAX, 0, UDIAG_SHOW_NAME | UDIAG_SHOW_UID, u32::MAX, u32::MAX];
    request.message(head, |writer| asked.iter().for_each(|word| writer.raw(&word.to_ne_bytes())));
    let wanted = [b"\0", name::of(owned).as_bytes()].concat();
    let has_unknown_users = user_namespace::is_inner();
    let read = |[_, kind, ..]: [u8; 4], told: &[u8]| {
        let attrs = Attrs(told.get(INODE_AND_COOKIE..)?);
        let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
        if kind != SOCK_DGRAM || attrs.find(UNIX_DIAG_NAME)? != wanted {
            return None;
        }
        let uid = attrs.find(UNIX_DIAG_UID).and_then(number);
        Some((number(told)?, uid.filter(|uid| !(has_unknown_users && *uid == OVERFLOW_UID))))
    };
    fold_with_heads(&socket, request.bytes(), Vec::new, |found, head, Attrs(told)| {
        found.extend(read(head, told));
    })
}

/// The first process that has a socket open, of those that may be looked at.
fn process_with(inode: u32) -> Option<Process> {
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let number = entry.file_name();
        let number = number.to_str()?;
        let pid = number.parse().ok()?;
        let mut fds = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let has_it = |fd: fs::DirEntry| {
            fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == socket.as_str())
        };
        fds.any(has_it).then(|| Process { name: comm(number), pid })
    })
}

/// A process's name, as the kernel has it: 15 bytes at most.
fn comm(pid: &str) -> String {
    let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_nothing_to_a_terminal() {
        let named = |name: &str| Process { name: name.to_owned(), pid: 7 }.to_string();
        assert_eq!(named("my proxy-1"), "my proxy-1 (pid 7)");
        assert_eq!(named("a\x1b[2J\n\u{202e}\\"), "a\\u{1b}[2J\\n\\u{202e}\\\\ (pid 7)");
    }
}
