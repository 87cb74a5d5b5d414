//! A mapper chosen at run time: NAT in the kernel and a proxy where this process may, a proxy alone where it may not.
//!
//! ```console
//! $ cargo run --example choose                                        # a webapp in this process, by the proxy
//! # cargo run --example choose -- docker0=172.17.0.0/16 172.17.0.2 8080:80    # a webapp in a container of yours
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{env, net::Ipv4Addr, time::Duration};

use portmap::{
    BoxError, BoxPortMapper, Endpoint, Error, ErrorKind, HybridMapper, PortMapper, PortSpec,
    ProxyMapper, Publish, RulesMapper,
    rules::{HostSettings, Loopback, Network, NetworkLease, Policy},
};
use portmap_testkit::{Page, Webapp};
use tokio::net::TcpListener;

/// The mapper, and the right to the network's rules where it has any: they stay as long as that lives.
async fn choose(network: Option<Network>) -> Result<(BoxPortMapper, Option<NetworkLease>), Error> {
    let proxy = ProxyMapper::new();
    let Some(network) = network else {
        println!("by the proxy alone: no network was named");
        return Ok((proxy.into_boxed(), None));
    };
    // The rules leave to the proxy what NAT serves badly or not at all.
    let policy = Policy { loopback: Loopback::Proxy, ..Policy::default() };
    let rules = RulesMapper::open_with(policy, HostSettings::Managed)?;
    match rules.attach(network).await {
        Ok(attached) => {
            println!("by NAT and the proxy");
            Ok((HybridMapper::new(proxy, rules).into_boxed(), Some(attached)))
        }
        // Nothing asks for privilege before this, and nothing is in force now.
        Err(error) if error.kind() == ErrorKind::Denied => {
            println!("by the proxy alone: {error}");
            Ok((proxy.into_boxed(), None))
        }
        Err(error) => Err(error),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args: Vec<_> = env::args().skip(1).collect();
    let (network, container, spec) = match &args[..] {
        [network, container, spec] => (Some(network.parse()?), container.parse()?, spec.clone()),
        _ => {
            let webapp = TcpListener::bind("127.0.0.1:0").await?;
            let spec = format!("127.0.0.1::{}", webapp.local_addr()?.port());
            tokio::spawn(Webapp::serve(webapp, "container"));
            (None, Endpoint::from(Ipv4Addr::LOCALHOST), spec)
        }
    };
    // From here on nobody has to know which one it is.
    let (mapper, attached) = choose(network).await?;
    let request = Publish::new(container).with(spec.parse::<PortSpec>()?);
    let lease = mapper.publish(request).await?;
    println!("{}", lease.bindings()[0]);

    let port = lease.bindings()[0].host_ports().first().number();
    print!("{}", Page::get((Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(1)).await?);

    lease.release().await?;
    if let Some(attached) = attached {
        attached.detach().await?;
    }
    Ok(())
}
