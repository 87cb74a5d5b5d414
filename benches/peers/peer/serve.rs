//! The peers that are this program itself, started again.

use std::{
    env,
    io::{self, Read, Write},
    process::{self, ExitCode},
    thread,
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
};

use super::Peer;
use crate::place::{CONTAINER, HOST_PORT, NETWORK, PORT, Place};

/// The hidden first argument; a peer's name, a protocol and a number of ports follow.
pub(crate) const SERVE: &str = "--serve";
const READY: &str = "ready\n";

pub(super) async fn start(
    peer: Peer,
    place: &Place,
    protocol: Protocol,
    ports: u16,
) -> Result<Child, BoxError> {
    let program = env::current_exe()?;
    let program = program.to_str().ok_or("this program's path is no UTF-8")?;
    let args = [SERVE.to_owned(), peer.name().to_owned(), protocol.to_string(), ports.to_string()];
    let mut child = place.host().command(program, args).await?;
    child.read_until(READY).await?;
    Ok(child)
}

/// Serves until the standard input ends: with the benchmark, however that ends.
pub(crate) fn serve(args: &[String]) -> ExitCode {
    thread::spawn(|| {
        // What else could be done with an error here?
        let _ = io::stdin().read(&mut [0]);
        process::exit(0)
    });
    match serve_forever(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_forever(args: &[String]) -> Result<(), BoxError> {
    let [peer, protocol, ports] = args else {
        return Err("a peer, a protocol and a number of ports".into());
    };
    let peer = Peer::named(peer).ok_or("no such peer")?;
    let mut builder = match peer {
        Peer::PortmapOneThread | Peer::PortmapRules => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()?.block_on(async {
        let _kept = publish(peer, protocol.parse()?, ports.parse()?).await?;
        io::stdout().write_all(READY.as_bytes())?;
        std::future::pending().await
    })
}

async fn publish(peer: Peer, protocol: Protocol, ports: u16) -> Result<Option<Lease>, BoxError> {
    let (host, container) = (HOST_PORT + ports - 1, PORT + ports - 1);
    let spec = format!("{HOST_PORT}-{host}:{PORT}-{container}/{protocol}").parse::<PortSpec>()?;
    let request = Publish::new(CONTAINER).with(spec);
    Ok(Some(match peer {
        Peer::PortmapRules => {
            let mapper = RulesMapper::open_with(Policy::default(), HostSettings::Managed)?;
            let attached = mapper.attach(NETWORK.parse::<Network>()?).await?;
            let lease = mapper.publish(request).await?;
            // The process's end is its end.
            std::mem::forget(attached);
            lease
        }
        Peer::Tokio => {
            for number in 0..ports {
                let listener = TcpListener::bind(("0.0.0.0", HOST_PORT + number)).await?;
                tokio::spawn(copy(listener, PORT + number));
            }
            return Ok(None);
        }
        _ => ProxyMapper::new().publish(request).await?,
    }))
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
