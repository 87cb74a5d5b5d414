//! A host with container networks, as a mapper meets it.

use std::sync::Arc;

use portmap_core::{BoxPortMapper, Error, Lease, PortMapper, PortSpec, Publish};

use crate::bridge::Bridge;
use crate::container::Container;
use crate::error::{BoxError, LabError};
use crate::lab::Lab;
use crate::node::Node;
use crate::webapp::Webapp;

/// What is set on the host: no packets between ports of a bridge for netfilter, and a refusal for each of many UDP clients,
/// where the kernel would refuse six at once and then one a second.
const SETTINGS: [(&str, &str); 4] = [
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/ipv4/icmp_ratemask", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
];

/// A [`Lab`] with two container networks and a webapp in each: where [`contract`](crate::contract) and
/// [`matrix`](crate::matrix) put a mapper to the test.
///
/// `docker0` is the network of the containers `web` and `neighbour`, `br0` that of `other`. A webapp
/// listens in `web` and `other`, on port 80. The host forwards nothing unless the mapper has it
/// forward, and its bridges show netfilter nothing (`br_netfilter` is off).
#[derive(Debug)]
pub struct Site {
    lab: Lab,
    docker0: Bridge,
    br0: Bridge,
    web: Container,
    neighbour: Container,
    other: Container,
    /// None where the containers are Docker's, and have webapps of their own.
    webapps: Vec<Webapp>,
}

impl Site {
    /// Makes the site.
    ///
    /// # Errors
    /// As [`Lab::new`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing.
    pub async fn new() -> Result<Self, LabError> {
        Self::with_headers(false).await
    }

    /// Makes a site where the webapp of `web` reads headers of the PROXY protocol, or doesn't.
    pub(crate) async fn with_headers(read: bool) -> Result<Self, LabError> {
        let (lab, docker0, br0) = networks().await?;
        let (web, neighbour, other) = tokio::try_join!(
            docker0.container("web"),
            docker0.container("neighbour"),
            br0.container("other"),
        )?;
        let web_80 = match read {
            true => Webapp::start_proxied(&web, 80).await?,
            false => Webapp::start(&web, 80).await?,
        };
        let webapps = vec![web_80, Webapp::start(&other, 80).await?];
        Ok(Self { lab, docker0, br0, web, neighbour, other, webapps })
    }

    /// Makes the site with real containers: their webapps are processes inside, and [`webapp`](Self::webapp) is not known.
    ///
    /// # Errors
    /// As [`Lab::new`] and [`Docker::webapp`](crate::Docker::webapp).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing.
    #[cfg(feature = "containers")]
    pub async fn of_docker(docker: &crate::Docker) -> Result<Self, LabError> {
        let (lab, docker0, br0) = networks().await?;
        let (web, neighbour, other) = tokio::try_join!(
            docker.webapp(&docker0, "web", 80),
            docker.busybox(&docker0, "neighbour"),
            docker.webapp(&br0, "other", 80),
        )?;
        Ok(Self { lab, docker0, br0, web, neighbour, other, webapps: Vec::new() })
    }

    /// The lab that it is made in.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The host, where the mapper runs.
    pub fn host(&self) -> &Node {
        self.lab.host()
    }

    /// A client on the host's LAN.
    pub fn client(&self) -> &Node {
        self.lab.client()
    }

    /// The container networks: `docker0`, `br0`.
    pub fn networks(&self) -> [&Bridge; 2] {
        [&self.docker0, &self.br0]
    }

    /// The container on `docker0` whose ports are published.
    pub fn web(&self) -> &Container {
        &self.web
    }

    /// Another container on `docker0`.
    pub fn neighbour(&self) -> &Container {
        &self.neighbour
    }

    /// The container on `br0`.
    pub fn other(&self) -> &Container {
        &self.other
    }

    /// The webapp of `web`: it knows who called.
    ///
    /// # Panics
    /// Where the containers are Docker's: see `of_docker`.
    pub fn webapp(&self) -> &Webapp {
        &self.webapps[0]
    }

    /// Publishes on the host: its sockets and tasks belong to the namespace and the runtime of that node.
    pub(crate) async fn publish(
        &self,
        mapper: &BoxPortMapper,
        request: Publish,
    ) -> Result<Lease, Error> {
        let mapper = mapper.clone();
        self.host().run(async move { mapper.publish(request).await }).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for bridge in [&mut self.docker0, &mut self.br0] {
            bridge.leave_to_namespace();
        }
    }
}

/// A lab with two networks and nothing in them.
async fn networks() -> Result<(Lab, Bridge, Bridge), LabError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    for (name, value) in SETTINGS {
        // Where the module is not loaded there is nothing to switch off.
        if host.read_sysctl(name).await.is_ok() {
            host.sysctl(name, value).await?;
        }
    }
    let (docker0, br0) = tokio::try_join!(lab.docker0(), lab.br0())?;
    Ok((lab, docker0, br0))
}

/// A mapper for a site, made on its host.
pub(crate) struct Setup(Box<dyn Fn(Arc<Site>) -> Made + Send + Sync>);

type Made = futures::future::BoxFuture<'static, Result<BoxPortMapper, BoxError>>;

impl Setup {
    pub(crate) fn new<F, Fut, M>(make: F) -> Self
    where
        F: Fn(Arc<Site>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M, BoxError>> + Send + 'static,
        M: PortMapper,
    {
        Self(Box::new(move |site| {
            let made = make(site);
            Box::pin(async move { Ok(made.await?.into_boxed()) })
        }))
    }

    pub(crate) async fn make(&self, site: &Arc<Site>) -> Result<BoxPortMapper, BoxError> {
        site.host().run((self.0)(Arc::clone(site))).await
    }
}

/// A request for a container of the site, by both of its addresses.
pub(crate) fn request(to: &Container, specs: &[&str]) -> Result<Publish, BoxError> {
    let mut request = Publish::new(to.endpoint());
    for spec in specs {
        request = request.with(spec.parse::<PortSpec>()?);
    }
    Ok(request)
}
