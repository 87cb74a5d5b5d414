//! Programs that a test talks to.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::exec::{ExecError, prepare};
use crate::node::Node;

/// How long [`Child::read_until`] and [`Child::wait`] wait.
const LIMIT: Duration = Duration::from_secs(5);

/// A program that runs in a node; dropping it kills it.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    input: Option<ChildStdin>,
    transcript: watch::Receiver<String>,
    /// How much of the transcript earlier reads have passed.
    read: usize,
}

impl Node {
    /// Starts a program in the namespace, to be talked to.
    ///
    /// # Errors
    /// [`ExecError::Start`] when it can't be started.
    pub async fn command<I>(&self, program: &str, args: I) -> Result<Child, ExecError>
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        let mut command = prepare(program, args)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = self.run(async move {
            let mut process = command.spawn()?;
            let (transcript, heard) = watch::channel(String::new());
            let transcript = Arc::new(transcript);
            let input = process.stdin.take();
            if let Some(output) = process.stdout.take() {
                tokio::spawn(listen(output, Arc::clone(&transcript)));
            }
            if let Some(output) = process.stderr.take() {
                tokio::spawn(listen(output, transcript));
            }
            Ok(Child { process, input, transcript: heard, read: 0 })
        });
        started.await.map_err(|source| ExecError::Start { program: program.to_owned(), source })
    }
}

impl Child {
    /// Types a text and presses enter.
    ///
    /// # Errors
    /// When the program has closed its input.
    pub async fn type_line(&mut self, line: &str) -> Result<(), ChildError> {
        let input =
            self.input.as_mut().ok_or(ChildError::Input(io::ErrorKind::BrokenPipe.into()))?;
        input.write_all(format!("{line}\n").as_bytes()).await.map_err(ChildError::Input)
    }

    /// Its process number; `None` once it was waited for.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Closes the program's input: what a person does with ctrl-D.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits until the program has printed `text`, 5 seconds at most, and returns what it printed since
    /// the last call, up to the end of `text`.
    ///
    /// # Errors
    /// [`ChildError::Silent`] when the text did not come, [`ChildError::Ended`] when it can't come any
    /// more; both carry what came instead.
    ///
    /// # Cancel safety
    /// Dropping the future loses no output.
    pub async fn read_until(&mut self, text: &str) -> Result<String, ChildError> {
        let from = self.read;
        let has_come = |heard: &String| heard[from..].contains(text);
        let waited =
            timeout(LIMIT, self.transcript.wait_for(has_come)).await.map(|heard| heard.is_ok());
        let rest = self.transcript.borrow()[from..].to_owned();
        match (rest.find(text), waited) {
            (Some(at), _) => {
                let end = at + text.len();
                self.read = from + end;
                Ok(rest[..end].to_owned())
            }
            (None, Err(_)) => Err(ChildError::Silent { wanted: text.to_owned(), came: rest }),
            (None, Ok(_)) => Err(ChildError::Ended { wanted: text.to_owned(), came: rest }),
        }
    }

    /// Everything it has printed so far, standard error included.
    pub fn transcript(&self) -> String {
        self.transcript.borrow().clone()
    }

    /// Waits until it ends by itself, 5 seconds at most.
    ///
    /// # Errors
    /// [`ChildError::Running`] when it did not end.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the program as it is.
    pub async fn wait(&mut self) -> Result<ExitStatus, ChildError> {
        let ended = timeout(LIMIT, self.process.wait()).await.map_err(|_| ChildError::Running)?;
        ended.map_err(ChildError::Input)
    }
}

async fn listen(mut output: impl AsyncRead + Unpin, transcript: Arc<watch::Sender<String>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..count]);
        transcript.send_modify(|heard| heard.push_str(&text));
    }
}

/// A program did not do what was expected of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChildError {
    /// It could not be written to or waited for.
    Input(io::Error),
    /// The text did not come in time.
    Silent {
        /// The text.
        wanted: String,
        /// What came instead.
        came: String,
    },
    /// It closed its output before the text came.
    Ended {
        /// The text.
        wanted: String,
        /// What came instead.
        came: String,
    },
    /// It did not end in time.
    Running,
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(_) => f.write_str("the program can't be talked to"),
            Self::Silent { wanted, came } => {
                write!(f, "no {wanted:?} came in {LIMIT:?}, but {came:?}")
            }
            Self::Ended { wanted, came } => {
                write!(f, "the program ended before {wanted:?} came, after {came:?}")
            }
            Self::Running => write!(f, "the program did not end in {LIMIT:?}"),
        }
    }
}

impl Error for ChildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Input(source) => Some(source),
            Self::Silent { .. } | Self::Ended { .. } | Self::Running => None,
        }
    }
}
