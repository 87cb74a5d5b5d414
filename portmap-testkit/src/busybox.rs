//! The machine's busybox: what a container has for tools.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::child::Child;
use crate::exec::{ExecError, Output};
use crate::node::Node;
use crate::tool;

/// The applets that tests use.
const APPLETS: [&str; 4] = ["telnet", "nc", "wget", "netstat"];

/// The machine's busybox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busybox {
    path: PathBuf,
}

impl Busybox {
    /// Finds busybox in `/bin`, `/usr/bin` or `$PATH`, and makes sure that it has telnet, nc, wget and
    /// netstat. The answer is remembered.
    ///
    /// # Errors
    /// [`BusyboxError::NotFound`] or [`BusyboxError::Lacks`].
    pub fn find() -> Result<Self, BusyboxError> {
        static FOUND: OnceLock<Result<Busybox, BusyboxError>> = OnceLock::new();
        FOUND.get_or_init(Self::search).clone()
    }

    fn search() -> Result<Self, BusyboxError> {
        let path = ["/bin/busybox", "/usr/bin/busybox", "busybox"]
            .into_iter()
            .find_map(tool::locate)
            .ok_or(BusyboxError::NotFound)?;
        let listed =
            Command::new(&path).arg("--list").output().map_err(|_| BusyboxError::NotFound)?;
        let lacks = missing(&String::from_utf8_lossy(&listed.stdout));
        if lacks.is_empty() {
            Ok(Self { path })
        } else {
            Err(BusyboxError::Lacks { path, applets: lacks })
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn missing(list: &str) -> Vec<&'static str> {
    APPLETS.into_iter().filter(|applet| !list.lines().any(|line| line.trim() == *applet)).collect()
}

impl Node {
    /// Runs a busybox applet in the namespace: `node.busybox(["netstat", "-lnt"])`.
    ///
    /// # Errors
    /// As [`exec`](Node::exec); without a busybox, [`ExecError::Start`].
    ///
    /// # Cancel safety
    /// Dropping the future kills the program.
    pub async fn busybox<I>(&self, args: I) -> Result<Output, ExecError>
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        self.exec(&busybox_path()?, args).await
    }

    /// Starts `busybox telnet` to an address; what is typed waits until it has connected.
    ///
    /// Into a pipe busybox prints its own lines (`Connected to..`) only when it ends; what the server
    /// sends comes at once.
    ///
    /// # Errors
    /// As [`command`](Node::command); without a busybox, [`ExecError::Start`].
    pub async fn telnet(&self, to: SocketAddr) -> Result<Child, ExecError> {
        let args = ["telnet".to_owned(), to.ip().to_string(), to.port().to_string()];
        self.command(&busybox_path()?, args).await
    }
}

fn busybox_path() -> Result<String, ExecError> {
    match Busybox::find() {
        Ok(busybox) => Ok(busybox.path().to_string_lossy().into_owned()),
        Err(error) => Err(ExecError::Start {
            program: "busybox".to_owned(),
            source: std::io::Error::other(error),
        }),
    }
}

/// There is no busybox to test with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusyboxError {
    /// There is none.
    NotFound,
    /// There is one that was built without an applet.
    Lacks {
        /// Where it is.
        path: PathBuf,
        /// What it lacks.
        applets: Vec<&'static str>,
    },
}

impl fmt::Display for BusyboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => {
                f.write_str("not in /bin, /usr/bin or $PATH (Debian: busybox-static)")
            }
            Self::Lacks { path, applets } => {
                write!(f, "{} lacks {}", path.display(), applets.join(", "))
            }
        }
    }
}

impl Error for BusyboxError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_applet_is_named() {
        assert_eq!(missing("nc\ntelnetd\nwget\n"), ["telnet", "netstat"]);
        assert!(missing("netstat\nwget\nnc\ntelnet\n").is_empty());
    }
}
