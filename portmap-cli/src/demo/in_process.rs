//! A webapp in this process.

use std::{
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
};

use portmap::{BoxError, HostPort, Mapping, PortSpec, Protocol, Publish, mapper::Reservation};
use portmap_testkit::Webapp;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::JoinSet,
};

/// A webapp on free ports of loopback, and mappings that lead there.
pub(crate) struct InProcess {
    request: Publish,
    _webapps: JoinSet<()>,
}

impl InProcess {
    pub(crate) async fn start(specs: &[PortSpec], headed: bool) -> Result<Self, BoxError> {
        let mut request = Publish::new(Ipv4Addr::LOCALHOST);
        let mut webapps = JoinSet::new();
        for spec in specs {
            let free = Mapping::new(spec.protocol(), HostPort::Ephemeral, spec.container_ports())?
                .on(Ipv4Addr::LOCALHOST);
            let to_loopback = Publish::new(Ipv4Addr::LOCALHOST).with(free);
            for reserved in Reservation::take(&to_loopback).await?.into_reserved() {
                let (binding, sockets) = reserved.serve()?;
                let mapping =
                    Mapping::new(spec.protocol(), spec.host_port(), binding.host_ports())?;
                request = request.with(spec.host_addr().into_iter().fold(mapping, Mapping::on));
                for socket in sockets {
                    if spec.protocol() == Protocol::Udp {
                        let socket = UdpSocket::from_std(socket.into_fd()?.into())?;
                        webapps.spawn(async move {
                            match headed {
                                true => Webapp::serve_udp_proxied(socket, "webapp").await,
                                false => Webapp::serve_udp(socket, "webapp").await,
                            }
                        });
                    } else {
                        let listener = TcpListener::from_std(socket.into_fd()?.into())?;
                        webapps.spawn(async move {
                            match headed {
                                true => Webapp::serve_proxied(listener, "webapp").await,
                                false => Webapp::serve(listener, "webapp").await,
                            }
                        });
                    }
                }
            }
        }
        Ok(Self { request, _webapps: webapps })
    }

    /// The request that publishes it.
    pub(crate) fn request(&self) -> Publish {
        self.request.clone()
    }
}

impl Display for InProcess {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("webapp in this process, on free ports of 127.0.0.1 in place of the ")?;
        f.write_str("container's: a namespace and a bridge need CAP_NET_ADMIN and CAP_SYS_ADMIN")
    }
}
