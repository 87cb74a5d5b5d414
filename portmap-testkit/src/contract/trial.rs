//! A mapper on a site, and what the clauses do with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portmap_core::{Binding, BoxPortMapper, Error, ErrorKind, Lease, Protocol, Publish};
use tokio::time::sleep;

use super::Abilities;
use crate::call::CallError;
use crate::container::Container;
use crate::error::BoxError;
use crate::node::Node;
use crate::site::{Setup, Site, request};
use crate::suite::TestResult;

/// How often to look for what has to be so "at once", and how long to wait in between. Looking once is not enough: a
/// process that is being started, by whatever part of this one, has copies of all descriptors until it runs its
/// own program, and a port that was closed meanwhile is taken that long.
const LOOKS: usize = 20;
const LOOK: Duration = Duration::from_millis(5);

/// How long what happens in the background may take.
const BACKGROUND: Duration = Duration::from_secs(2);

/// A mapper on a site.
pub(super) struct Trial {
    pub(super) site: Arc<Site>,
    mapper: BoxPortMapper,
    pub(super) can: Abilities,
    published: Mutex<Vec<Binding>>,
}

impl Trial {
    pub(super) async fn new(setup: &Setup, can: Abilities) -> Result<Self, BoxError> {
        let site = Arc::new(Site::new().await?);
        let mapper = setup.make(&site).await?;
        Ok(Self { site, mapper, can, published: Mutex::default() })
    }

    /// Every port that was published has to be free again.
    pub(super) async fn end(self) -> TestResult {
        let published = self.published.into_inner().unwrap_or_else(PoisonError::into_inner);
        for binding in published {
            for port in binding.host_ports().iter() {
                let port = port.number();
                let free = async || is_free(self.site.host(), binding.protocol(), port).await;
                eventually(&format!("{port}/{} is free", binding.protocol()), free).await?;
            }
        }
        let mapper = self.mapper;
        self.site.host().run(async move { drop(mapper) }).await;
        Ok(())
    }

    pub(super) fn mapper(&self) -> BoxPortMapper {
        self.mapper.clone()
    }

    /// Publishes `[ip:][host:]port[/proto]` of a container.
    pub(super) async fn publish(&self, to: &Container, specs: &[&str]) -> Result<Lease, BoxError> {
        let request = request(to, specs)?;
        let mut left = LOOKS;
        loop {
            match self.try_publish(request.clone()).await {
                Ok(lease) => return Ok(lease),
                Err(error) if error.kind() == ErrorKind::AddrInUse && left > 1 => left -= 1,
                Err(error) => return Err(format!("publish {}: {error:?}", specs.join(" ")).into()),
            }
            sleep(LOOK).await;
        }
    }

    pub(super) async fn try_publish(&self, request: Publish) -> Result<Lease, Error> {
        let lease = self.site.publish(&self.mapper, request).await?;
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.extend_from_slice(lease.bindings());
        Ok(lease)
    }

    /// Asserts that a request is refused for a reason.
    pub(super) async fn refuses(&self, request: Publish, kind: ErrorKind) -> TestResult {
        let asked = format!("{:?}", request.mappings());
        match self.try_publish(request).await {
            Err(error) if error.kind() == kind => Ok(()),
            Err(error) => Err(format!("{asked}: expected {kind:?}, got {error:?}").into()),
            Ok(lease) => Err(format!("{asked} was published: {:?}", lease.bindings()).into()),
        }
    }

    pub(super) async fn release(&self, lease: Lease) -> TestResult {
        Ok(self.site.host().run(lease.release()).await?)
    }

    pub(super) async fn drop_lease(&self, lease: Lease) {
        self.site.host().run(async move { drop(lease) }).await;
    }

    /// The host's addresses on its LAN, with a port.
    pub(super) fn lan(&self, port: u16) -> [SocketAddr; 2] {
        let host = self.site.host();
        [(host.addr4(), port).into(), (host.addr6(), port).into()]
    }

    /// The protocols that the mapper publishes.
    pub(super) fn protocols(&self) -> &'static [Protocol] {
        if self.can.udp { &[Protocol::Tcp, Protocol::Udp] } else { &[Protocol::Tcp] }
    }

    /// Asserts who answers a client of the LAN at both addresses of the host, over every protocol; `None`: it is refused.
    pub(super) async fn answers(&self, port: u16, name: Option<&str>) -> TestResult {
        for protocol in self.protocols() {
            self.answers_over(*protocol, port, name).await?;
        }
        Ok(())
    }

    /// The same over one protocol.
    pub(super) async fn answers_over(
        &self,
        protocol: Protocol,
        port: u16,
        name: Option<&str>,
    ) -> TestResult {
        for to in self.lan(port) {
            self.answers_at(self.site.client(), to, protocol, name).await?;
        }
        Ok(())
    }

    /// Asserts who answers a client at an address.
    pub(super) async fn answers_at(
        &self,
        client: &Node,
        to: SocketAddr,
        protocol: Protocol,
        name: Option<&str>,
    ) -> TestResult {
        let mut left = LOOKS;
        loop {
            let heard = who(client, to, protocol).await;
            if heard.as_ref().is_ok_and(|heard| heard.as_deref() == name) {
                return Ok(());
            }
            // Who should be there is; who should have gone may need a moment.
            if name.is_none() && left > 1 {
                left -= 1;
                sleep(LOOK).await;
                continue;
            }
            let words = |name: Option<&str>| name.map_or("nobody".to_owned(), str::to_owned);
            let (wanted, heard) = (words(name), words(heard?.as_deref()));
            let client = client.name();
            return Err(
                format!("{client} calls {to}/{protocol}: {heard} answers, not {wanted}").into()
            );
        }
    }

    /// Who answers the host itself at 127.0.0.1 or ::1, where the mapper serves that.
    pub(super) async fn answers_loopback(&self, port: u16, name: &str) -> TestResult {
        let loopbacks = [
            (IpAddr::from(Ipv4Addr::LOCALHOST), self.can.loopback4),
            (IpAddr::from(Ipv6Addr::LOCALHOST), self.can.loopback6),
        ];
        for (addr, served) in loopbacks {
            let name = served.then_some(name);
            for protocol in self.protocols() {
                let to = SocketAddr::new(addr, port);
                self.answers_at(self.site.host(), to, *protocol, name).await?;
            }
        }
        Ok(())
    }

    /// Asserts that somebody else on the host can have a port, on all addresses, at once.
    pub(super) async fn is_free(&self, protocol: Protocol, port: u16) -> TestResult {
        for _ in 0..LOOKS {
            if is_free(self.site.host(), protocol, port).await {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        Err(format!("{port}/{protocol} is not free").into())
    }

    /// Waits until it is.
    pub(super) async fn becomes_free(&self, port: u16) -> TestResult {
        for protocol in self.protocols() {
            let free = async || is_free(self.site.host(), *protocol, port).await;
            eventually(&format!("{port}/{protocol} is free"), free).await?;
        }
        Ok(())
    }
}

/// The name of who answers, or `None` for a refusal.
async fn who(
    client: &Node,
    to: SocketAddr,
    protocol: Protocol,
) -> Result<Option<String>, BoxError> {
    let called = match protocol {
        Protocol::Udp => client.ask_udp(to).await,
        _ => client.get(to).await,
    };
    match called {
        Ok(page) => Ok(Some(page.hostname)),
        Err(CallError::Refused) => Ok(None),
        Err(error) => Err(format!("{} calls {to}/{protocol}: {error}", client.name()).into()),
    }
}

/// Whether a port can be bound on all addresses of both families.
async fn is_free(host: &Node, protocol: Protocol, port: u16) -> bool {
    host.run(async move {
        // std lets a TCP port be bound that waits in TIME_WAIT.
        match protocol {
            Protocol::Udp => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).map(drop),
            _ => TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).map(drop),
        }
        .is_ok()
    })
    .await
}

/// Waits until something holds.
pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> TestResult {
    let begin = Instant::now();
    while !holds().await {
        if begin.elapsed() > BACKGROUND {
            return Err(format!("not within {BACKGROUND:?}: {what}").into());
        }
        sleep(LOOK).await;
    }
    Ok(())
}
