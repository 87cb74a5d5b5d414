//! What publishes the port: we, and those that we are compared with.

mod programs;
mod rule;
mod serve;

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use portmap::{BoxError, Protocol};
use portmap_testkit::Child;

use crate::{
    load::Load,
    meter::Meter,
    place::{CONTAINER, HOST_PORT, PORT, Place},
};

pub(crate) use serve::{SERVE, serve};

/// A way to the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// No publishing: the client has a route to the container.
    Direct,
    /// `ProxyMapper` in a process with tokio's default runtime, a worker for each CPU.
    Portmap,
    /// `ProxyMapper` in a process with a runtime of one thread.
    PortmapOneThread,
    /// `RulesMapper`.
    PortmapRules,
    /// One rule of iptables, written by hand.
    Rule,
    /// Docker's own, what the others are compared with.
    DockerProxy,
    /// haproxy, with splice and two threads.
    Haproxy,
    /// socat, which starts a process for each client.
    Socat,
    /// `tokio::io::copy_bidirectional` on tokio's default runtime.
    Tokio,
}

impl Peer {
    pub(crate) const ALL: [Self; 9] = [
        Self::Direct,
        Self::PortmapRules,
        Self::Rule,
        Self::Portmap,
        Self::PortmapOneThread,
        Self::DockerProxy,
        Self::Haproxy,
        Self::Socat,
        Self::Tokio,
    ];

    /// What the others are divided by.
    pub(crate) const BASE: Self = Self::DockerProxy;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Portmap => "portmap",
            Self::PortmapOneThread => "portmap-1-thread",
            Self::PortmapRules => "portmap-rules",
            Self::Rule => "iptables-rule",
            Self::DockerProxy => "docker-proxy",
            Self::Haproxy => "haproxy",
            Self::Socat => "socat",
            Self::Tokio => "tokio-copy",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Whether bytes pass through a process of it.
    fn is_proxy(self) -> bool {
        !matches!(self, Self::Direct | Self::PortmapRules | Self::Rule)
    }

    /// Why it cannot be measured here, and the command that mends that on Debian.
    pub(crate) fn missing(self) -> Option<String> {
        let (program, package) = match self {
            Self::Rule => ("iptables", "iptables"),
            Self::DockerProxy => ("docker-proxy", "docker.io"),
            Self::Haproxy => ("haproxy", "haproxy"),
            Self::Socat => ("socat", "socat"),
            _ => return None,
        };
        locate(program).is_none().then(|| format!("{program} is missing: apt install {package}"))
    }

    /// Whether it can carry this at all.
    pub(crate) fn carries(self, load: Load) -> bool {
        match (self, load) {
            (Self::Haproxy | Self::Tokio, load) => load.protocol() == Protocol::Tcp,
            // It would be a thousand processes, and while one starts others' datagrams are refused.
            (Self::Socat, Load::UdpEcho(count) | Load::Burst(count) | Load::Sessions(count)) => {
                count <= 100
            }
            (_, Load::Connections(_) | Load::Sessions(_)) => self.is_proxy(),
            _ => true,
        }
    }

    /// Starts it with this many neighbouring ports.
    pub(crate) async fn start(
        self,
        place: &Place,
        protocol: Protocol,
        ports: u16,
    ) -> Result<Running, BoxError> {
        let mut running = Running {
            children: Vec::new(),
            target: (place.host().addr4(), HOST_PORT).into(),
            meter: Meter::default(),
        };
        let held = self == Self::Socat;
        match self {
            Self::Direct => running.target = (CONTAINER, PORT).into(),
            Self::Rule => rule::add(place, protocol).await?,
            Self::Portmap | Self::PortmapOneThread | Self::PortmapRules | Self::Tokio => {
                running.children.push(serve::start(self, place, protocol, ports).await?);
            }
            Self::DockerProxy | Self::Haproxy | Self::Socat => {
                running.children = programs::start(self, place, protocol, ports).await?;
            }
        }
        let processes = running.children.iter().filter_map(Child::pid).collect();
        running.meter = Meter::new(processes, held);
        Ok(running)
    }
}

/// A peer that publishes; dropping it ends that.
pub(crate) struct Running {
    children: Vec<Child>,
    /// Where clients find it.
    pub(crate) target: SocketAddr,
    meter: Meter,
}

impl Running {
    /// Its processes if bytes pass through them.
    pub(crate) fn working_meter(&self, peer: Peer) -> Meter {
        if peer.is_proxy() { self.meter.clone() } else { Meter::default() }
    }

    /// What it complained of.
    pub(crate) fn complaints(&self) -> String {
        self.children.iter().map(Child::transcript).collect()
    }
}

/// Where a program is: an ordinary user's `PATH` often lacks the folders of administration tools.
pub(crate) fn locate(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path: &PathBuf| Path::is_file(path))
}
