//! What publishes the port: we, and those that we are compared with.

mod docker_run;
mod plugins;
mod programs;
mod rule;
mod running;
mod serve;

use std::{
    env,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use portmap::{BoxError, Protocol};

use crate::{
    load::Load,
    meter::Meter,
    place::{CONTAINER, HOST_PORT, PORT, Place},
};

pub(crate) use docker_run::publish as docker_run;
pub(crate) use running::Running;
pub(crate) use serve::{SERVE, serve};

/// Has a program end with the benchmark, however that ends.
const TIED: [&str; 2] = ["--pdeathsig", "KILL"];

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
    /// dockerd, which starts two of them a port and writes rules.
    DockerRun,
    /// haproxy, with splice and two threads.
    Haproxy,
    /// socat, which starts a process for each client.
    Socat,
    /// `tokio::io::copy_bidirectional` on tokio's default runtime.
    Tokio,
    /// The plugin of CNI that container runtimes run.
    Cni,
    /// Podman's.
    Netavark,
}

impl Peer {
    pub(crate) const ALL: [Self; 12] = [
        Self::Direct,
        Self::PortmapRules,
        Self::Rule,
        Self::Portmap,
        Self::PortmapOneThread,
        Self::DockerProxy,
        Self::DockerRun,
        Self::Haproxy,
        Self::Socat,
        Self::Tokio,
        Self::Cni,
        Self::Netavark,
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
            Self::DockerRun => "docker-run",
            Self::Haproxy => "haproxy",
            Self::Socat => "socat",
            Self::Tokio => "tokio-copy",
            Self::Cni => "cni-portmap",
            Self::Netavark => "netavark",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Direct => "no publishing: the client has a route to the container",
            Self::PortmapRules => "ours: `RulesMapper`, NAT by nftables",
            Self::Rule => "one DNAT rule of iptables, written by hand",
            Self::Portmap => "ours: `ProxyMapper` on tokio's default runtime, a worker a CPU",
            Self::PortmapOneThread => "ours: `ProxyMapper` on a runtime of one thread",
            Self::DockerProxy => "Docker's `docker-proxy`: a process a port",
            Self::DockerRun => {
                "`docker run -p`: what dockerd takes longer to start and to remove a container with ports than one without. For a port it starts two `docker-proxy` (IPv4, IPv6) and has iptables write rules"
            }
            Self::Haproxy => {
                "haproxy, `option splice-request`, `option splice-response`, `nbthread 2`"
            }
            Self::Socat => "socat, `fork`: a process a client",
            Self::Tokio => "`tokio::io::copy_bidirectional` on tokio's default runtime",
            Self::Cni => "the plugin `portmap` of CNI",
            Self::Netavark => {
                "podman's netavark, which makes bridge and interface at the same time"
            }
        }
    }

    /// Whether it is ours.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Portmap | Self::PortmapOneThread | Self::PortmapRules)
    }

    /// Whether bytes pass through a process of it.
    fn is_proxy(self) -> bool {
        matches!(
            self,
            Self::Portmap
                | Self::PortmapOneThread
                | Self::DockerProxy
                | Self::Haproxy
                | Self::Socat
                | Self::Tokio
        )
    }

    /// Why it cannot be measured here, and the command that mends that on Debian.
    pub(crate) fn missing(self) -> Option<String> {
        let (program, package) = match self {
            Self::Rule => ("iptables", "iptables"),
            Self::DockerProxy => ("docker-proxy", "docker.io"),
            Self::DockerRun => return docker_run::missing(),
            Self::Haproxy => ("haproxy", "haproxy"),
            Self::Socat => ("socat", "socat"),
            Self::Cni => ("portmap", "containernetworking-plugins"),
            Self::Netavark => ("netavark", "netavark"),
            _ => return None,
        };
        locate(program).is_none().then(|| format!("{program} is missing: apt install {package}"))
    }

    /// Whether it can carry this at all.
    pub(crate) fn carries(self, load: Load) -> bool {
        match (self, load) {
            (Self::Direct | Self::Haproxy | Self::Socat | Self::Tokio, Load::Publish(_)) => false,
            (_, Load::Publish(ports)) => self.is_ours() || ports <= 100,
            (Self::DockerRun | Self::Cni | Self::Netavark, _) => false,
            (Self::Direct | Self::Rule, Load::Ports(_)) => false,
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
            took: Duration::ZERO,
        };
        let begin = Instant::now();
        let held = self == Self::Socat;
        match self {
            Self::Direct => running.target = (CONTAINER, PORT).into(),
            Self::Rule => rule::each(place, "-A", protocol, ports).await?,
            Self::DockerRun => return Err("it has a host of its own".into()),
            Self::Cni => plugins::cni(place, "ADD", ports).await?,
            Self::Netavark => plugins::netavark(place, "setup", ports).await?,
            Self::Portmap | Self::PortmapOneThread | Self::PortmapRules | Self::Tokio => {
                let (child, took) = serve::start(self, place, protocol, ports).await?;
                running.children.push(child);
                running.took = took;
            }
            Self::DockerProxy | Self::Haproxy | Self::Socat => {
                running.children = programs::start(self, place, protocol, ports).await?;
            }
        }
        if running.took.is_zero() {
            running.took = begin.elapsed();
        }
        running.meter = Meter::new(running.processes(), held);
        Ok(running)
    }
}

/// Where a program is: an ordinary user's `PATH` often lacks the folders of administration tools.
pub(crate) fn locate(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/lib/cni", "/usr/lib/podman"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path: &PathBuf| Path::is_file(path))
}
