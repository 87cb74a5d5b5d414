//! A container that is started by its first connection: a dial service of a few lines.
//!
//! ```console
//! $ cargo run --example on_demand
//! $ curl -s localhost:8080        # from another shell: the first one takes a moment
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use portmap::{Endpoint, PortMapper, PortSpec, ProxyMapper, Publish, proxy::Dial};
use portmap_testkit::Webapp;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OnceCell,
    task::JoinHandle,
    time::sleep,
};
use tower::service_fn;

/// The container's address: a runtime would know it before the container runs.
const CONTAINER: &str = "127.0.0.1:8081";

/// Stands for what a runtime does; a webapp takes half a second to boot.
async fn start() -> io::Result<JoinHandle<()>> {
    println!("the first client is here: starting the container");
    Ok(tokio::spawn(async {
        sleep(Duration::from_millis(500)).await;
        match TcpListener::bind(CONTAINER).await {
            Ok(listener) => Webapp::serve(listener, "on-demand").await,
            Err(error) => eprintln!("the container failed: {error}"),
        }
    }))
}

/// Connects, and tries again while the container boots; the proxy's dial limit ends that.
async fn connect(dial: Dial) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect(dial.addr()).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let container = Arc::new(OnceCell::new());
    let dial = service_fn(move |dial: Dial| {
        let container = Arc::clone(&container);
        async move {
            // However many clients come at once, one of them starts it.
            container.get_or_try_init(start).await?;
            connect(dial).await
        }
    });
    let request = Publish::new("127.0.0.1".parse::<Endpoint>()?)
        .with("127.0.0.1:8080:8081".parse::<PortSpec>()?);
    let lease = ProxyMapper::new().dial(dial).publish(request).await?;
    println!("{}", lease.bindings()[0]);
    tokio::signal::ctrl_c().await?;
    lease.release().await?;
    Ok(())
}
