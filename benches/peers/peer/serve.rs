//! The peers that are this program itself, started again.

use std::{
    env,
    io::{self, Read, Write},
    process::{self, ExitCode},
    thread,
    time::{Duration, Instant},
};

use portmap::{
    BoxError, Lease, PortMapper, PortSpec, Protocol, ProxyMapper, Publish, RulesMapper,
    rules::{HostSettings, Network, Policy},
};
use portmap_testkit::Child;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
};

use super::Peer;
use crate::place::{CONTAINER, HOST_PORT, NETWORK, PORT, Place};

/// The hidden first argument; a peer's name, a protocol and a number of ports follow.
pub(crate) const SERVE: &str = "--serve";

pub(super) async fn start(
    peer: Peer,
    place: &Place,
    protocol: Protocol,
    ports: u16,
) -> Result<(Child, Duration), BoxError> {
    let program = env::current_exe()?;
    let program = program.to_str().ok_or("this program's path is no UTF-8")?;
    let args = [SERVE.to_owned(), peer.name().to_owned(), protocol.to_string(), ports.to_string()];
    let mut child = place.host().command(program, args).await?;
    let took = read_time(&mut child).await?;
    Ok((child, took))
}

/// Has it release its ports; tells how long that took it.
pub(super) async fn release(child: &mut Child) -> Result<Duration, BoxError> {
    child.end_input();
    read_time(child).await
}

async fn read_time(child: &mut Child) -> Result<Duration, BoxError> {
    let line = child.read_until(" ns\n").await?;
    Ok(Duration::from_nanos(line.trim_end_matches(" ns\n").parse()?))
}

/// Serves until the standard input ends: with the benchmark, however that ends. Prints how long publishing took, and then
/// releasing.
pub(crate) fn serve(args: &[String]) -> ExitCode {
    match serve_until_told(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_until_told(args: &[String]) -> Result<(), BoxError> {
    let [peer, protocol, ports] = args else {
        return Err("a peer, a protocol and a number of ports".into());
    };
    let peer = Peer::named(peer).ok_or("no such peer")?;
    let mut builder = match peer {
        Peer::PortmapOneThread | Peer::PortmapRules => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let (tell, told) = oneshot::channel();
    thread::spawn(|| {
        // Read to its end or not readable: told either way.
        let _ = io::stdin().read(&mut [0]);
        tell.send(())
    });
    builder.enable_all().build()?.block_on(async {
        let (lease, took) = publish(peer, protocol.parse()?, ports.parse()?).await?;
        print(took)?;
        told.await?;
        let begin = Instant::now();
        if let Some(lease) = lease {
            lease.release().await?;
        }
        print(begin.elapsed())?;
        // tokio-copy's tasks have no end.
        process::exit(0)
    })
}

fn print(took: Duration) -> io::Result<()> {
    writeln!(io::stdout(), "{} ns", took.as_nanos())
}

/// Publishes; tells how long that took, without what is done once for all ports.
async fn publish(
    peer: Peer,
    protocol: Protocol,
    ports: u16,
) -> Result<(Option<Lease>, Duration), BoxError> {
    let (host, container) = (HOST_PORT + ports - 1, PORT + ports - 1);
    let spec = format!("{HOST_PORT}-{host}:{PORT}-{container}/{protocol}").parse::<PortSpec>()?;
    let request = Publish::new(CONTAINER).with(spec);
    let mut begin = Instant::now();
    let lease = match peer {
        Peer::PortmapRules => {
            let mapper = RulesMapper::open_with(Policy::default(), HostSettings::Managed)?;
            let attached = mapper.attach(NETWORK.parse::<Network>()?).await?;
            begin = Instant::now();
            let lease = mapper.publish(request).await?;
            // The process's end is its end.
            std::mem::forget(attached);
            Some(lease)
        }
        Peer::Tokio => {
            for number in 0..ports {
                let listener = TcpListener::bind(("0.0.0.0", HOST_PORT + number)).await?;
                tokio::spawn(copy(listener, PORT + number));
            }
            None
        }
        _ => Some(ProxyMapper::new().publish(request).await?),
    };
    Ok((lease, begin.elapsed()))
}

/// A proxy as tokio's documentation has it.
async fn copy(listener: TcpListener, port: u16) -> io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut container = TcpStream::connect((CONTAINER, port)).await?;
            client.set_nodelay(true)?;
            container.set_nodelay(true)?;
            copy_bidirectional(&mut client, &mut container).await
        });
    }
}
