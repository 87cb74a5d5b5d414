//! A container is replaced behind an open port, and then the port is drained.
//!
//! ```console
//! $ cargo run --example retarget
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use portmap::{BoxError, Established, PortMapper, PortSpec, ProxyMapper, Publish};
use portmap_testkit::Webapp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// One request on a connection that stays open, and the first line of the webapp's page.
async fn ask(client: &mut TcpStream) -> io::Result<String> {
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    let mut answer = [0; 1024];
    let page = match client.read(&mut answer).await? {
        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
        read => String::from_utf8_lossy(&answer[..read]).into_owned(),
    };
    let name = page.lines().find(|line| line.starts_with("Hostname"));
    Ok(name.unwrap_or("no page").to_owned())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let old = TcpListener::bind((OLD, 0)).await?;
    let port = old.local_addr()?.port();
    tokio::spawn(Webapp::serve(old, "old"));
    tokio::spawn(Webapp::serve(TcpListener::bind((NEW, port)).await?, "new"));

    let mapper = ProxyMapper::new().drain_limit(Duration::from_secs(5));
    let request = Publish::new(OLD).with(format!("127.0.0.1::{port}").parse::<PortSpec>()?);
    let mut lease = mapper.publish(request).await?;
    let port = lease.bindings()[0].host_ports().first().number();
    let published = SocketAddr::from((Ipv4Addr::LOCALHOST, port));

    let mut kept = TcpStream::connect(published).await?;
    println!("before:              {}", ask(&mut kept).await?);

    // The port is never closed: no client is refused meanwhile.
    lease.retarget(NEW, Established::Keep).await?;
    let mut fresh = TcpStream::connect(published).await?;
    println!("the open connection: {}", ask(&mut kept).await?);
    println!("a new one:           {}", ask(&mut fresh).await?);

    lease.retarget(NEW, Established::Cut).await?;
    println!("cut:                 {:?}", kept.read_u8().await.map_err(|error| error.kind()));

    // Releasing closes the door at once; who is inside has the drain limit to finish.
    let mut inside = TcpStream::connect(published).await?;
    ask(&mut inside).await?;
    let release = tokio::spawn(lease.release());
    while TcpStream::connect(published).await.is_ok() {
        tokio::task::yield_now().await;
    }
    println!("draining, inside:    {}", ask(&mut inside).await?);
    drop((inside, fresh));
    release.await??;
    println!("released");
    Ok(())
}
