//! The command line, as Go's `flag` package reads it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use portmap_core::{Port, Protocol, UnknownProtocol};

/// What docker-proxy's flags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Another one is no mistake of the command line, but of what is asked for.
    pub(crate) protocol: Result<Protocol, UnknownProtocol>,
    pub(crate) host_ip: IpAddr,
    /// `None` where it was not given.
    pub(crate) host_port: Option<Port>,
    pub(crate) container_ip: IpAddr,
    pub(crate) container_port: Option<Port>,
    pub(crate) use_listen_fd: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Proxy(Flags),
    Version,
    Help,
}

pub(crate) const USAGE: &str = "\
Usage of portmap-docker-proxy:
  -container-ip value
    \tcontainer ip (default 0.0.0.0)
  -container-port int
    \tcontainer port (default -1)
  -host-ip value
    \thost ip (default 0.0.0.0)
  -host-port int
    \thost port (default -1)
  -proto string
    \tproxy protocol (default \"tcp\")
  -use-listen-fd
    \tuse a supplied listen fd
  -v\tprint version information and quit
  -version
    \tprint version information and quit";

/// Reads the arguments after the program's name. A flag has one dash or two, and its value after `=` or in the next
/// argument; what needs no value takes one after `=` only. The first argument that is not a flag ends them.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, FlagError> {
    let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut flags = Flags {
        protocol: Ok(Protocol::Tcp),
        host_ip: unspecified,
        host_port: None,
        container_ip: unspecified,
        container_port: None,
        use_listen_fd: false,
    };
    let mut version = false;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let Some(flag) = arg.strip_prefix('-').filter(|name| !name.is_empty()) else {
            break;
        };
        let flag = match flag.strip_prefix('-') {
            Some("") => break,
            Some(long) => long,
            None => flag,
        };
        let (name, given) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(FlagError::Syntax(arg));
        }
        let mut value = || {
            let value = given.clone().or_else(|| args.next());
            value.ok_or_else(|| FlagError::NoValue(name.to_owned()))
        };
        match name {
            "proto" => flags.protocol = value()?.parse(),
            "host-ip" => flags.host_ip = read(name, value()?, |text| text.parse().ok())?,
            "host-port" => flags.host_port = read(name, value()?, port)?,
            "container-ip" => flags.container_ip = read(name, value()?, |text| text.parse().ok())?,
            "container-port" => flags.container_port = read(name, value()?, port)?,
            "use-listen-fd" => flags.use_listen_fd = switch(name, given)?,
            "v" | "version" => version = switch(name, given)?,
            "h" | "help" => return Ok(Command::Help),
            _ => return Err(FlagError::Unknown(name.to_owned())),
        }
    }
    Ok(if version { Command::Version } else { Command::Proxy(flags) })
}

fn read<T>(
    name: &str,
    value: String,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, FlagError> {
    parse(&value).ok_or_else(|| FlagError::Value { name: name.to_owned(), value })
}

/// A port; -1, which is no port given.
fn port(text: &str) -> Option<Option<Port>> {
    if text == "-1" { Some(None) } else { text.parse().ok().map(Some) }
}

/// What Go reads as a boolean.
fn switch(name: &str, value: Option<String>) -> Result<bool, FlagError> {
    let Some(value) = value else {
        return Ok(true);
    };
    read(name, value, |text| match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    })
}

/// Why the command line cannot be read, in the words of Go's `flag` package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FlagError {
    Syntax(String),
    Unknown(String),
    NoValue(String),
    Value { name: String, value: String },
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(arg) => write!(f, "bad flag syntax: {arg}"),
            Self::Unknown(name) => write!(f, "flag provided but not defined: -{name}"),
            Self::NoValue(name) => write!(f, "flag needs an argument: -{name}"),
            Self::Value { name, value } => {
                write!(f, "invalid value {value:?} for flag -{name}: parse error")
            }
        }
    }
}

#[cfg(test)]
mod tests;
