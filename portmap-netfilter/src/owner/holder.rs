//! Who has taken what an owner needs.

use std::{fmt, fs, io};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::name;
use crate::netlink::{Attrs, Message, Socket, Writer, dump};

// From linux/sock_diag.h and linux/unix_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_UNIX: u8 = 1;
const UDIAG_SHOW_NAME: u32 = 0x01;
const UDIAG_SHOW_UID: u32 = 0x40;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_UID: u16 = 7;
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
    /// The user whose socket it is, as this user namespace has it; the kernel tells since Linux 5.3.
    uid: Option<u32>,
    /// `None` where it may not be seen.
    process: Option<Process>,
}

impl NameHolder {
    /// Looks for the socket that has the address of a prefix in the network namespace of the calling thread.
    pub(super) fn find(owned: &str) -> Option<Self> {
        let (inode, uid) = match socket(owned) {
            Ok(found) => found?,
            Err(error) => {
                tracing::debug!(%error, "the kernel does not list Unix sockets");
                return None;
            }
        };
        Some(Self { uid, process: process_with(inode) })
    }

    /// Whether it is surely the process of an ordinary user.
    pub(super) fn is_ordinary(&self) -> bool {
        self.uid.is_some_and(|uid| uid != 0)
    }
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

/// The inode and the user of the socket that has a prefix's address.
fn socket(owned: &str) -> io::Result<Option<(u32, Option<u32>)>> {
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
    let found = dump(&socket, request.bytes(), |Attrs(told)| {
        let attrs = Attrs(told.get(INODE_AND_COOKIE..)?);
        let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
        let is_it = attrs.find(UNIX_DIAG_NAME)? == wanted;
        is_it.then(|| {
            number(told).map(|inode| (inode, attrs.find(UNIX_DIAG_UID).and_then(number)))
        })?
    })?;
    Ok(found.into_iter().next())
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
