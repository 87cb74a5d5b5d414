//! A mapper of one's own, held to the contract of every mapper and to the access paths of its kind.
//!
//! ```console
//! $ cargo run --example contract
//! ```
//!
//! As root, or as an ordinary user where user namespaces are allowed. `-- --list` names the clauses.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{io, net::SocketAddr, pin::Pin, process::ExitCode, time::Duration};

use portmap::{
    Endpoint, Error, ErrorKind, Lease, Port, PortMapper, Protocol, Publish,
    mapper::{Hold, HostSocket, NotReleased, Reservation},
};
use portmap_testkit::{
    Need, Suite,
    contract::Contract,
    matrix::{Column, Kind, Matrix},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let contract = Contract::new("relay", |_site| async { Ok(Relay) });
    contract.without_udp().without_retarget().tests(&mut suite);
    suite.test("every_path_is_as_expected", &[Need::Netns], async || {
        let column = Column::new("relay", Kind::Proxy, |_site| async { Ok(Relay) }).without_udp();
        let table = Matrix::new().with(column).run().await?;
        println!("{table}");
        Ok(table.check()?)
    });
    suite.run()
}

/// Carries TCP connections by tokio's own means, and no datagrams.
struct Relay;

impl PortMapper for Relay {
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        if request.mappings().iter().any(|mapping| mapping.protocol() != Protocol::Tcp) {
            return Err(Error::new(ErrorKind::Unsupported, "nothing but TCP is carried"));
        }
        // From here on nobody else can have the ports. What fails below drops the tasks, and they their ports.
        let reservation = Reservation::take(&request).await?;
        let bindings = reservation.bindings().cloned().collect();
        let mut tasks = JoinSet::new();
        for reserved in reservation.into_reserved() {
            let (binding, sockets) = reserved.serve()?;
            for (socket, port) in sockets.into_iter().zip(binding.container_ports().iter()) {
                let door = Door::new(socket).map_err(|error| {
                    Error::new(ErrorKind::Backend, "a port cannot be served").with_source(error)
                })?;
                tasks.spawn(serve(door, binding.endpoint(), port));
            }
        }
        Ok(Lease::new(bindings, Serving(tasks)))
    }
}

/// A port that lets clients in as long as this lives, also where somebody else goes on to hold its socket.
struct Door {
    listener: TcpListener,
    socket: HostSocket,
}

impl Door {
    fn new(socket: HostSocket) -> io::Result<Self> {
        let listener = TcpListener::from_std(socket.clone().into_fd()?.into())?;
        Ok(Self { listener, socket })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.socket.refuse();
    }
}

async fn serve(door: Door, endpoint: Endpoint, port: Port) {
    let mut connections = JoinSet::new();
    loop {
        match door.listener.accept().await {
            Ok((client, peer)) => {
                let to = SocketAddr::new(endpoint.toward(peer.ip()), port.number());
                connections.spawn(relay(client, to));
            }
            // No descriptor is left, say: connections that end give some back.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut container = TcpStream::connect(to).await?;
    copy_bidirectional(&mut client, &mut container).await.map(drop)
}

/// A task for each port. Dropping them ends them, in the background.
#[derive(Debug)]
struct Serving(JoinSet<()>);

impl Hold for Serving {
    fn release(
        mut self: Box<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>> {
        Box::pin(async move {
            self.0.shutdown().await;
            Ok(())
        })
    }

    fn disarm(mut self: Box<Self>) {
        self.0.detach_all();
    }
}
