//! Embedding it: a request, a lease, a client.
//!
//! ```console
//! $ cargo run --example embed
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{net::Ipv4Addr, time::Duration};

use portmap::{BoxError, Endpoint, PortMapper, PortSpec, ProxyMapper, Publish};
use portmap_testkit::{Page, Webapp};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let webapp = TcpListener::bind("127.0.0.1:0").await?; // stands for a container's service
    let spec = format!("127.0.0.1::{}", webapp.local_addr()?.port());
    tokio::spawn(Webapp::serve(webapp, "container"));

    let container: Endpoint = "127.0.0.1".parse()?;
    let lease =
        ProxyMapper::new().publish(Publish::new(container).with(spec.parse::<PortSpec>()?)).await?;
    println!("{}", lease.bindings()[0]);

    let port = lease.bindings()[0].host_ports().first().number();
    print!("{}", Page::get((Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(1)).await?);

    lease.release().await?;
    Ok(())
}
