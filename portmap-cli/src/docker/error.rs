//! Why Docker did not say what was asked.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    io,
    path::PathBuf,
    time::Duration,
};

/// Why Docker did not say what was asked. Asked again later, it may.
#[derive(Debug)]
pub(crate) enum DockerError {
    /// There is no answer that could be understood.
    Unheard { socket: PathBuf, cause: Unheard },
    /// It said no.
    Refused { status: u16, said: String },
}

/// What is wrong with an answer, or why there is none.
#[derive(Debug)]
pub(crate) enum Unheard {
    /// The socket failed.
    Socket(io::Error),
    /// There was no whole answer in this time.
    Late(Duration),
    /// It ended before it was whole.
    Short,
    /// A part of it is longer than so many bytes.
    Long { part: &'static str, most: usize },
    /// It is no HTTP.
    Http(httparse::Error),
    /// Its body is encoded in a way that nobody asked for.
    Encoded(String),
    /// Its body is no JSON, or lacks something.
    Json(serde_json::Error),
}

impl Display for DockerError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unheard { socket, cause } => {
                write!(f, "Docker cannot be asked at {}: {cause}", socket.display())
            }
            Self::Refused { status, said } => write!(f, "Docker answered {status}: {said}"),
        }
    }
}

impl Display for Unheard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => {
                let hint = match error.kind() {
                    io::ErrorKind::PermissionDenied => ": be root, or in the group of the socket",
                    io::ErrorKind::NotFound => ": is Docker here? DOCKER_HOST may name its socket",
                    _ => "",
                };
                write!(f, "{error}{hint}")
            }
            Self::Late(limit) => write!(f, "no whole answer within {limit:?}"),
            Self::Short => f.write_str("the answer ends too early"),
            Self::Long { part, most } => write!(f, "{part} is longer than {most} bytes"),
            Self::Http(error) => write!(f, "the answer is not HTTP: {error}"),
            Self::Encoded(how) => write!(f, "the answer is encoded: {how}"),
            Self::Json(error) => write!(f, "the answer makes no sense: {error}"),
        }
    }
}

// Each says its cause itself: the hint stands behind it.
impl Error for DockerError {}
