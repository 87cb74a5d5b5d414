//! Programs that run in a node to their end.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::node::Node;
use crate::tool;

/// How long [`Node::exec`] lets a program run.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What a program left.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed; bytes that aren't UTF-8 are replaced.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Node {
    /// Runs a program in the namespace to its end, 20 seconds at most, with an empty standard input.
    ///
    /// The program is looked for in `$PATH` and in the sbin directories. That it failed is no error
    /// here: see [`Output::status`].
    ///
    /// # Errors
    /// [`ExecError::Start`] when it can't be started, [`ExecError::TooLong`] when it was killed.
    ///
    /// # Cancel safety
    /// Dropping the future kills the program.
    pub async fn exec<I>(&self, program: &str, args: I) -> Result<Output, ExecError>
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        let mut command = prepare(program, args)?;
        command.stdin(Stdio::null());
        let ended = self.run(async move { timeout(LIMIT, command.output()).await }).await;
        let output = ended
            .map_err(|_| ExecError::TooLong { program: program.to_owned() })?
            .map_err(|source| ExecError::Start { program: program.to_owned(), source })?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// A command that dies with its handle.
pub(crate) fn prepare<I>(program: &str, args: I) -> Result<Command, ExecError>
where
    I: IntoIterator<Item: Into<OsString>>,
{
    let path = tool::locate(program).ok_or_else(|| ExecError::Start {
        program: program.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    })?;
    let mut command = Command::new(path);
    command.env("PATH", tool::path());
    command.args(args.into_iter().map(Into::into)).kill_on_drop(true);
    Ok(command)
}

/// A program did not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExecError {
    /// It could not be started, or its output not be read.
    Start {
        /// Its name.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It ran for too long, and was killed.
    TooLong {
        /// Its name.
        program: String,
    },
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { program, .. } => write!(f, "could not run {program}"),
            Self::TooLong { program } => write!(f, "{program} was killed after {LIMIT:?}"),
        }
    }
}

impl Error for ExecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Start { source, .. } => Some(source),
            Self::TooLong { .. } => None,
        }
    }
}
