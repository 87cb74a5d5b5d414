//! A container that is started by its first connection: a dial service of a few lines.
//!
//! ```console
//! $ cargo run --example on_demand
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    io::{self, ErrorKind},
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portmap::{BoxError, PortMapper, PortSpec, ProxyMapper, Publish, proxy::Dial};
use portmap_testkit::{Page, Webapp};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::sleep,
};
use tower::service_fn;

/// Stands for what a runtime does: a container's address is known before it runs, and it takes half a second to boot.
async fn boot(address: TcpSocket) {
    sleep(Duration::from_millis(500)).await;
    match address.listen(128) {
        Ok(listener) => Webapp::serve(listener, "on-demand").await,
        Err(error) => eprintln!("the container failed: {error}"),
    }
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
async fn main() -> Result<(), BoxError> {
    let address = TcpSocket::new_v4()?;
    address.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let spec = format!("127.0.0.1::{}", address.local_addr()?.port());

    let stopped = Arc::new(Mutex::new(Some(address)));
    let dial = service_fn(move |dial: Dial| {
        // However many clients come at once, one of them starts it.
        if let Some(address) = stopped.lock().unwrap_or_else(PoisonError::into_inner).take() {
            println!("the first client is here: starting the container");
            tokio::spawn(boot(address));
        }
        connect(dial)
    });
    let request = Publish::new(Ipv4Addr::LOCALHOST).with(spec.parse::<PortSpec>()?);
    let lease = ProxyMapper::new().dial(dial).publish(request).await?;
    println!("{}", lease.bindings()[0]);

    let port = lease.bindings()[0].host_ports().first().number();
    for client in ["first", "second"] {
        let began = Instant::now();
        let page = Page::get((Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(5)).await?;
        println!(
            "the {client} client was answered by {} in {:.0?}",
            page.hostname,
            began.elapsed()
        );
    }
    lease.release().await?;
    Ok(())
}
