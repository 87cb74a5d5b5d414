//! A webapp made to be published, where no container was named.

mod contained;
mod in_process;

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
};

use portmap::{BoxError, Port, PortSpec, Publish, rules::Network};
use portmap_testkit::LabError;

pub(crate) use self::contained::Contained;
use self::in_process::InProcess;

/// As many ports as the webapp is made to listen on.
const MOST_PORTS: usize = 1000;

/// A webapp.
pub(crate) enum Demo {
    Contained(Contained),
    /// Without privilege there is no namespace that this host could reach.
    InProcess(InProcess),
}

impl Demo {
    /// Starts one, in a network namespace where that can be made; one that reads headers of the PROXY protocol, if asked.
    pub(crate) async fn start(specs: &[PortSpec], headed: bool) -> Result<Self, BoxError> {
        match Contained::start(specs, headed).await {
            Ok(contained) => Ok(Self::Contained(contained)),
            Err(error) if error.downcast_ref::<LabError>().is_some_and(is_denied) => {
                Ok(Self::InProcess(InProcess::start(specs, headed).await?))
            }
            Err(error) => Err(error),
        }
    }

    /// The request that publishes it.
    pub(crate) fn request(&self, specs: &[PortSpec]) -> Publish {
        match self {
            Self::Contained(contained) => contained.request(specs),
            Self::InProcess(in_process) => in_process.request(),
        }
    }

    /// Its network, where it has one of its own.
    pub(crate) fn network(&self) -> Result<Option<Network>, BoxError> {
        match self {
            Self::Contained(contained) => contained.network().map(Some),
            Self::InProcess(_) => Ok(None),
        }
    }

    /// Removes what was made for it.
    pub(crate) async fn remove(self) -> Result<(), BoxError> {
        match self {
            Self::Contained(contained) => contained.remove().await,
            Self::InProcess(_) => Ok(()),
        }
    }
}

impl Display for Demo {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contained(contained) => contained.fmt(f),
            Self::InProcess(in_process) => in_process.fmt(f),
        }
    }
}

/// Every container port that is asked for.
fn container_ports(specs: &[PortSpec]) -> Result<BTreeSet<Port>, BoxError> {
    let ports = specs.iter().flat_map(|spec| spec.container_ports().iter());
    let ports: BTreeSet<_> = ports.take(MOST_PORTS + 1).collect();
    match ports.len() {
        0..=MOST_PORTS => Ok(ports),
        _ => {
            Err(format!("the webapp has at most {MOST_PORTS} ports; name a container by --to")
                .into())
        }
    }
}

/// Whether it was a privilege that was missing: `EPERM` or `EACCES`.
pub(crate) fn is_denied(error: &LabError) -> bool {
    matches!(error.raw_os_error(), Some(1 | 13))
}
