//! The container that is meant.

use std::path::PathBuf;

use portmap::Endpoint;

use super::read;
use crate::{
    docker::ContainerName,
    target::{Target, parse_endpoint, parse_pid},
};

/// At most one of these; without any a small webapp is started to be published.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[command(
    next_help_heading = "The container of each SPEC without @TARGET; none: a small webapp is started"
)]
pub(crate) struct TargetArgs {
    /// By its address, or one of each family
    #[arg(long, value_name = "ADDR[,ADDR6]", value_parser = |text: &str| parse_endpoint(text, "--docker "))]
    to: Option<Endpoint>,

    /// A container of Docker's, by its name or ID; followed when it is started again. On a bridge it is connected to at its
    /// address there, else from inside its network namespace
    #[arg(long, value_name = "NAME", value_parser = read::<ContainerName>)]
    docker: Option<ContainerName>,

    /// The network namespace of a process: connects to 127.0.0.1 in there
    #[arg(long, value_name = "PID", value_parser = |text: &str| parse_pid(text).map_err(|error| error.to_string()))]
    pid: Option<u32>,

    /// A network namespace: connects to 127.0.0.1 in there
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
}

impl TargetArgs {
    /// What they name.
    pub(crate) fn target(&self) -> Option<Target> {
        let Self { to, docker, pid, netns } = self;
        let (docker, netns) = (docker.clone(), netns.clone());
        let at = to.map(Target::At);
        at.or(docker.map(Target::Docker))
            .or(pid.map(Target::Process))
            .or(netns.map(Target::Namespace))
    }

    /// The option that is on the command line, as a person wrote it.
    pub(crate) fn given(&self) -> Option<String> {
        self.target().map(|target| match target {
            Target::At(endpoint) => format!("--to {endpoint}"),
            Target::Docker(name) => format!("--docker {name}"),
            Target::Process(pid) => format!("--pid {pid}"),
            Target::Namespace(path) => format!("--netns {}", path.display()),
        })
    }
}
