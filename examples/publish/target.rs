//! What is published: a container that was named, or a webapp made for the purpose.

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
    fs,
    net::Ipv4Addr,
    path::Path,
};

use ipnet::{Ipv4Net, Ipv6Net};
use portmap::{
    Endpoint, HostPort, Mapping, Port, PortSpec, Protocol, Publish, mapper::Reservation,
};
use portmap_testkit::{Bridge, Container, LabError, Node, Webapp};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

use crate::{BoxError, args::Args};

/// As many ports as the webapp is made to listen on.
const MOST_PORTS: usize = 1000;

/// What is published.
pub(crate) enum Target {
    /// A container that was named.
    Named(Endpoint),
    /// A webapp in a network namespace of its own, behind a bridge of its own.
    Contained { bridge: Bridge, container: Container, _webapps: Vec<Webapp> },
    /// A webapp in this process: without privilege there is no namespace that this host could reach.
    InProcess { mappings: Vec<Mapping>, _webapps: JoinSet<()> },
}

impl Target {
    /// The container of the command line, else a new webapp.
    pub(crate) async fn find(args: &Args) -> Result<Self, BoxError> {
        if let Some(endpoint) = args.to {
            return Ok(Self::Named(endpoint));
        }
        let ports = container_ports(&args.specs)?;
        match contained(&ports).await {
            Ok(target) => Ok(target),
            Err(error) if is_denied(&error) => in_process(args).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The request that publishes it.
    pub(crate) fn request(&self, args: &Args) -> Result<Publish, BoxError> {
        let (endpoint, mappings) = match self {
            Self::Named(endpoint) => (*endpoint, None),
            Self::Contained { container, .. } => (endpoint_of(container), None),
            Self::InProcess { mappings, .. } => (Ipv4Addr::LOCALHOST.into(), Some(mappings)),
        };
        let mappings = match mappings {
            Some(mappings) => mappings.clone(),
            None => args.specs.iter().cloned().map(Mapping::from).collect(),
        };
        Ok(mappings.into_iter().fold(Publish::new(endpoint), Publish::with))
    }

    /// Removes what was made for the purpose.
    pub(crate) async fn remove(self) -> Result<(), BoxError> {
        match self {
            Self::Contained { bridge, .. } => Ok(bridge.remove().await?),
            Self::Named(_) | Self::InProcess { .. } => Ok(()),
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(endpoint) => write!(f, "container at {endpoint}, by the proxy"),
            Self::Contained { bridge, container, .. } => {
                let endpoint = endpoint_of(container);
                write!(f, "webapp in a network namespace of its own, {endpoint}, ")?;
                write!(f, "behind bridge {} ({})", bridge.name(), bridge.gateway4())
            }
            Self::InProcess { .. } => {
                f.write_str("webapp in this process, on free ports of 127.0.0.1 in place of the ")?;
                f.write_str(
                    "container's: a namespace and a bridge need CAP_NET_ADMIN and CAP_SYS_ADMIN",
                )
            }
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

async fn contained(ports: &BTreeSet<Port>) -> Result<Target, LabError> {
    let bridge = Bridge::create_free(&Node::current().await?, "portmap", &subnets()).await?;
    match started(&bridge, ports).await {
        Ok((container, _webapps)) => Ok(Target::Contained { bridge, container, _webapps }),
        Err(error) => {
            bridge.remove().await?;
            Err(error)
        }
    }
}

async fn started(
    bridge: &Bridge,
    ports: &BTreeSet<Port>,
) -> Result<(Container, Vec<Webapp>), LabError> {
    let container = bridge.container("webapp").await?;
    let mut webapps = Vec::with_capacity(ports.len());
    for port in ports {
        webapps.push(Webapp::start(&container, port.number()).await?);
    }
    Ok((container, webapps))
}

/// Bridges' addresses to choose from: the ends of private ranges, that others seldom use.
fn subnets() -> Vec<(Ipv4Net, Option<Ipv6Net>)> {
    let without = |name| fs::read_to_string(name).map_or(true, |text| text.trim() == "1");
    let v6 = !without(Path::new("/proc/sys/net/ipv6/conf/default/disable_ipv6"));
    let candidates = [[172, 31, 254, 1], [172, 30, 254, 1], [10, 254, 254, 1], [192, 168, 254, 1]];
    let nets = candidates.into_iter().enumerate().map(|(place, v4)| {
        let v6_net = Ipv6Net::new_assert([0xfd00, 0x706d, 0, place as u16, 0, 0, 0, 1].into(), 64);
        (Ipv4Net::new_assert(v4.into(), 24), v6.then_some(v6_net))
    });
    nets.collect()
}

fn endpoint_of(container: &Container) -> Endpoint {
    match container.gateway6() {
        Some(_) => Endpoint::dual(container.addr4(), container.addr6()),
        None => container.addr4().into(),
    }
}

/// Puts a webapp on free ports of loopback, and lets the mappings lead there.
async fn in_process(args: &Args) -> Result<Target, BoxError> {
    let mut mappings = Vec::with_capacity(args.specs.len());
    let mut webapps = JoinSet::new();
    for spec in &args.specs {
        let free = Mapping::new(spec.protocol(), HostPort::Ephemeral, spec.container_ports())?
            .on(Ipv4Addr::LOCALHOST.into());
        let request = Publish::new(Ipv4Addr::LOCALHOST).with(free);
        for reserved in Reservation::take(&request).await?.into_reserved() {
            let (binding, sockets) = reserved.serve()?;
            let mapping = Mapping::new(spec.protocol(), spec.host_port(), binding.host_ports())?;
            mappings.push(spec.host_addr().into_iter().fold(mapping, Mapping::on));
            for socket in sockets {
                if spec.protocol() == Protocol::Udp {
                    let socket = UdpSocket::from_std(socket.into())?;
                    webapps.spawn(async move { Webapp::serve_udp(socket, "webapp").await });
                } else {
                    let listener = TcpListener::from_std(socket.into())?;
                    webapps.spawn(async move { Webapp::serve(listener, "webapp").await });
                }
            }
        }
    }
    Ok(Target::InProcess { mappings, _webapps: webapps })
}

/// Whether it was a privilege that was missing: `EPERM` or `EACCES`.
fn is_denied(error: &LabError) -> bool {
    matches!(error.raw_os_error(), Some(1 | 13))
}
