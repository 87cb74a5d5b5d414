//! One port, from its start to the signal that ends it.

use std::{fmt, future::pending, io, time::Duration};

use portmap_core::{
    Binding, Endpoint, Error, HostAddr, HostPort, Lease, Mapping, PortMapper, PortRange, Protocol,
    Publish, Reserved, UnknownProtocol,
};
use portmap_proxy::ProxyMapper;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Socket, Type};
use tokio::{
    runtime::{Builder, Runtime},
    select,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{flags::Flags, inherited};

/// How long connections may go on after the signal: no longer, as with docker-proxy. dockerd waits for each of its proxies in
/// turn, and holds a container's end up meanwhile; its container has ended by then, and what that has said the kernel delivers.
const DRAIN: Duration = Duration::ZERO;

/// A port that is served.
#[derive(Debug)]
pub(crate) struct Proxy {
    runtime: Runtime,
    lease: Lease,
    ends: [Signal; 2],
}

impl Proxy {
    /// Serves the port; when this returns, clients are accepted.
    pub(crate) fn start(flags: &Flags) -> Result<Self, StartError> {
        // First of all, for the same reason.
        let handed = match flags.use_listen_fd {
            true => Some(Socket::from(inherited::listener().map_err(StartError::NoSocket)?)),
            false => None,
        };
        let protocol = flags.protocol.clone().map_err(StartError::Protocol)?;
        let (host_port, container_port) = match (flags.host_port, flags.container_port) {
            (Some(host), Some(container)) => (host, container),
            (None, _) => return Err(StartError::NoPort("host-port")),
            (_, None) => return Err(StartError::NoPort("container-port")),
        };
        raise_descriptor_limit();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Runtime)?;
        let (lease, ends) = runtime.block_on(async {
            let ends = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
            let [interrupt, terminate] = ends;
            let ends =
                [interrupt.map_err(StartError::Runtime)?, terminate.map_err(StartError::Runtime)?];
            let mapping = Mapping::new(
                protocol,
                HostPort::Exact(host_port.into()),
                PortRange::from(container_port),
            );
            let mapping = mapping.map_err(Error::from)?.on(flags.host_ip);
            let endpoint = Endpoint::from(flags.container_ip);
            let lease = publish(endpoint, mapping, handed).await?;
            Ok::<_, StartError>((lease, ends))
        })?;
        Ok(Self { runtime, lease, ends })
    }

    /// Serves until SIGINT or SIGTERM.
    pub(crate) fn run(self) {
        let Self { runtime, lease, ends: [mut interrupt, mut terminate] } = self;
        runtime.block_on(async {
            select! {
                Some(()) = interrupt.recv() => {}
                Some(()) = terminate.recv() => {}
                else => pending().await,
            }
            // It cannot fail: the proxy has nothing that a kernel could refuse to undo.
            let _ = lease.release().await;
        });
    }
}

async fn publish(
    endpoint: Endpoint,
    mapping: Mapping,
    handed: Option<Socket>,
) -> Result<Lease, StartError> {
    let mapper = ProxyMapper::new().drain_limit(DRAIN);
    let request = Publish::new(endpoint).with(mapping.clone());
    let (Some(socket), HostPort::Exact(ports)) = (handed, mapping.host_port()) else {
        return Ok(mapper.publish(request).await?);
    };
    request.check()?;
    let protocol = mapping.protocol();
    match (protocol, socket.r#type().map_err(StartError::NoSocket)?) {
        (Protocol::Tcp, Type::STREAM) | (Protocol::Udp, Type::DGRAM) => {}
        (Protocol::Tcp | Protocol::Udp, _) => return Err(StartError::OtherSocket(protocol)),
        // Says that it is not served.
        _ => return Ok(mapper.publish(request).await?),
    }
    let host_addr = mapping.host().next().unwrap_or(HostAddr::Any);
    let container_ports = mapping.container_ports();
    let binding = Binding::new(protocol, host_addr, ports.first(), endpoint, container_ports);
    let binding = binding.ok_or(StartError::NoPort("host-port"))?;
    Ok(mapper.serve(vec![Reserved::adopt(binding, vec![socket.into()])?])?)
}

/// As the Go runtime does: two descriptors a connection are soon more than the usual soft limit of 1,024.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // One that stays as it is keeps nobody from being served.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Why a port is not served.
#[derive(Debug)]
pub(crate) enum StartError {
    NoPort(&'static str),
    NoSocket(io::Error),
    OtherSocket(Protocol),
    Protocol(UnknownProtocol),
    Runtime(io::Error),
    Publish(Error),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Publish(error)
    }
}

impl fmt::Display for StartError {
    /// All on one line, with causes: dockerd shows it to a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort(flag) => write!(f, "-{flag} is missing"),
            Self::NoSocket(error) => write!(f, "descriptor 4 is not a socket: {error}"),
            Self::OtherSocket(protocol) => write!(f, "descriptor 4 is not a {protocol} socket"),
            Self::Protocol(unknown) => unknown.fmt(f),
            Self::Runtime(error) => write!(f, "the runtime does not start: {error}"),
            Self::Publish(error) => {
                write!(f, "{error}")?;
                let mut cause = std::error::Error::source(error);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}
