//! What a port is to lead to, as a person names it.

mod helper;
mod reach;
mod way;

use std::{
    fmt::{self, Display, Formatter},
    path::PathBuf,
    str::FromStr,
};

use portmap::{BoxError, Endpoint, EndpointError};

pub(crate) use self::{
    helper::{HELPER, help},
    reach::Reach,
    way::Way,
};
use crate::docker::ContainerName;

/// The container that a SPEC is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// By its addresses, as this host sees them.
    At(Endpoint),
    /// The network namespace of a process.
    Process(u32),
    /// A network namespace that has a path.
    Namespace(PathBuf),
    /// A container of Docker's.
    Docker(ContainerName),
}

impl FromStr for Target {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // No address begins like these.
        Ok(match text.split_once(':') {
            Some(("pid", pid)) => Self::Process(parse_pid(pid)?),
            Some(("netns", "")) => return Err("netns: is without a path".into()),
            Some(("netns", path)) => Self::Namespace(path.into()),
            Some(("docker", name)) => Self::Docker(name.parse()?),
            _ => Self::At(parse_endpoint(text, "@docker:")?),
        })
    }
}

/// A container's addresses. `docker` is how one is named instead, where the text looks like a name.
pub(crate) fn parse_endpoint(text: &str, docker: &str) -> Result<Endpoint, String> {
    let is_name = || text.contains(char::is_alphabetic) && text.parse::<ContainerName>().is_ok();
    text.parse().map_err(|error| match error {
        EndpointError::NotAnAddress(_) if text.contains('[') => {
            format!("{error}: without brackets here")
        }
        EndpointError::NotAnAddress(_) if is_name() => format!("{error}; {docker}{text}?"),
        _ => error.to_string(),
    })
}

/// A process's number.
pub(crate) fn parse_pid(text: &str) -> Result<u32, BoxError> {
    match text.parse() {
        Ok(pid @ 1..=0x7fff_ffff) => Ok(pid),
        _ => Err(format!("{text:?} is not the number of a process").into()),
    }
}

impl Display for Target {
    /// As it would stand behind `@`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(endpoint) => endpoint.fmt(f),
            Self::Process(pid) => write!(f, "pid:{pid}"),
            Self::Namespace(path) => write!(f, "netns:{}", path.display()),
            Self::Docker(name) => write!(f, "docker:{name}"),
        }
    }
}
