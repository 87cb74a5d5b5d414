//! How a container is reached.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt,
    path::Path,
};

use portmap::{
    BoxError, Endpoint,
    proxy::{NetnsDial, NetnsError},
    rules::Network,
};

use super::{Target, helper::dial_by_helper};
use crate::{
    docker::{self, Docker},
    output::chain,
};

/// A container that was found.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// Its addresses: in its own namespace where it is dialled from there, else as this host sees them.
    pub(crate) endpoint: Endpoint,
    /// Where it is dialled from; this host where there is none.
    pub(crate) inside: Option<NetnsDial>,
    /// Its network as the rules know it, where that is known.
    pub(crate) network: Option<Network>,
    /// When it was started, where that is known: of another start, it is to be found anew.
    pub(crate) since: String,
    /// What a person calls it.
    name: String,
}

/// What is bound to 127.0.0.1, to 0.0.0.0 or to a dual-stack `::` answers there; over TCP a [`Way`](super::Way) tries `::1` too.
pub(super) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

impl Reach {
    /// Looks for a container. Nothing is changed by it.
    pub(crate) async fn find(target: &Target) -> Result<Self, BoxError> {
        match target {
            Target::At(endpoint) => Ok(Self::at(*endpoint, None, String::new())),
            Target::Process(pid) => Self::in_process(*pid, of_process(*pid)),
            Target::Namespace(path) => {
                let name = format!("at {}", path.display());
                Self::within(path, &name, || NetnsDial::at(path))
            }
            Target::Docker(name) => docker::reach(&Docker::from_env()?, name).await,
        }
    }

    /// In the namespace of a process.
    pub(crate) fn in_process(pid: u32, name: String) -> Result<Self, BoxError> {
        let path = format!("/proc/{pid}/ns/net");
        Self::within(path.as_ref(), &name, || match NetnsDial::of_process(pid) {
            // Not with a thread: but an ordinary user's own namespace can be entered by a process.
            Err(NetnsError::Enter(cause)) if cause.raw_os_error() == Some(1) => dial_by_helper(pid)
                .map_err(|error| match error.downcast() {
                    Ok(refused) => *refused,
                    Err(_) => NetnsError::Enter(cause),
                }),
            entered => entered,
        })
    }

    /// At addresses that this host can connect to.
    pub(crate) fn at(endpoint: Endpoint, network: Option<Network>, name: String) -> Self {
        Self { endpoint, inside: None, network, since: String::new(), name }
    }

    pub(crate) fn since(self, since: String) -> Self {
        Self { since, ..self }
    }

    /// Whether it is this namespace itself: a publish can lead back to itself then.
    pub(crate) fn is_here(&self) -> bool {
        self.inside.is_none() && self.endpoint == LOOPBACK.into()
    }

    fn within(
        path: &Path,
        name: &str,
        enter: impl FnOnce() -> Result<NetnsDial, NetnsError>,
    ) -> Result<Self, BoxError> {
        // From this namespace the proxy knows a publish that leads to itself.
        let inside = match is_ours(path) {
            true => None,
            false => Some(enter().map_err(|error| explain(&error, name))?),
        };
        Ok(Self { inside, ..Self::at(LOOPBACK.into(), None, name.to_owned()) })
    }
}

fn of_process(pid: u32) -> String {
    format!("of process {pid}")
}

/// Whether a namespace is the one that this process is in.
fn is_ours(path: &Path) -> bool {
    let number = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    number(path).is_some_and(|one| number("/proc/thread-self/ns/net".as_ref()) == Some(one))
}

/// Says what is missing.
fn explain(error: &NetnsError, name: &str) -> BoxError {
    let said = chain(error);
    match error {
        NetnsError::Enter(cause) if cause.raw_os_error() == Some(1) => {
            format!("{said}: the one {name} is for root, or for who owns its user namespace")
        }
        // Its number says it all, where a person named it by that.
        NetnsError::NoProcess(pid) if name == of_process(*pid) => said,
        _ => format!("{said} ({name})"),
    }
    .into()
}

impl Display for Reach {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { endpoint, inside, name, .. } = self;
        match (name.as_str(), inside) {
            ("", _) => write!(f, "container at {endpoint}"),
            (_, None) => write!(f, "container {name}, at {endpoint}"),
            (_, Some(_)) => write!(f, "container {name}, at {endpoint} of its own namespace"),
        }
    }
}
