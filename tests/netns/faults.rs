//! What goes wrong on a host, and what becomes of the ports then.

use std::{io, net::SocketAddr, time::Duration};

use futures::future::join_all;
use portmap::BoxError;
use portmap_testkit::{Child, Lab, Need, Node, Suite, Webapp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

use crate::support::tool;

pub(crate) fn tests(suite: &mut Suite) {
    suite.test(
        "running_out_of_descriptors_delays_clients_and_loses_none",
        &[Need::Netns],
        descriptors,
    );
    suite.test("a_port_that_is_flooded_leaves_the_others_served", &[Need::Netns], flooded);
    suite.test("silent_connections_leave_other_ports_served", &[Need::Netns], silent);
}

/// What the tool may have open, and how many clients want in: two descriptors each.
const DESCRIPTORS: &str = "64";
const CLIENTS: usize = 200;

async fn descriptors() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$@\"");
    let path = tool()?.to_string_lossy().into_owned();
    let endpoint = web.addr4().to_string();
    let args = ["-c", &limited, "sh", &path, "8080:80", "--to", &endpoint];
    let mut tool = lab.host().command("sh", args).await?;
    tool.read_until("Ctrl-C ends it.\n").await?;

    let host = SocketAddr::from((lab.host().addr4(), 8080));
    let rounds = lab.client().run(async move {
        let mut waiting = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = TcpStream::connect(host).await?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await?;
            waiting.push(stream);
        }
        let mut rounds = Vec::new();
        while !waiting.is_empty() {
            let answers = waiting.into_iter().map(async |mut stream| {
                let read = timeout(Duration::from_millis(100), stream.read(&mut [0; 1024])).await;
                (stream, read)
            });
            let mut served = Vec::new();
            waiting = Vec::new();
            for (stream, read) in join_all(answers).await {
                match read {
                    Ok(Ok(0)) => return Err(io::Error::other("closed without an answer")),
                    Ok(read) => {
                        read?;
                        served.push(stream);
                    }
                    Err(_) => waiting.push(stream),
                }
            }
            rounds.push(served.len());
            if rounds.len() > 100 {
                return Err(io::Error::other(format!("{} were never served", waiting.len())));
            }
        }
        Ok(rounds)
    });
    let rounds = rounds.await?;
    eprintln!(
        "{CLIENTS} clients with {DESCRIPTORS} descriptors were served in rounds of {rounds:?}"
    );
    assert!(rounds.len() > 1, "the descriptors never ran out");
    assert_eq!(rounds.iter().sum::<usize>(), CLIENTS);
    lab.client().get(host).await?;
    Ok(())
}

/// The tool with a limit of its own, ready.
async fn limited(host: &Node, descriptors: u32, args: &[&str]) -> Result<Child, BoxError> {
    let limited = format!("ulimit -n {descriptors}; exec \"$@\"");
    let path = tool()?.to_string_lossy().into_owned();
    let shell = ["-c", &limited, "sh", &path];
    let mut tool = host.command("sh", shell.into_iter().chain(args.iter().copied())).await?;
    tool.read_until("Ctrl-C ends it.\n").await?;
    Ok(tool)
}

async fn flooded() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let specs = ["8080:80", "8080:80/udp", "8081:80/udp", "--to", &web.addr4().to_string()];
    let mut tool = limited(lab.host(), 256, &specs).await?;
    let host = SocketAddr::from((lab.host().addr4(), 8080));
    let other = SocketAddr::from((lab.host().addr4(), 8081));
    for _ in 0..3 {
        let sent = lab.client().run(async move {
            for _ in 0..1000 {
                // Each is another client: the next one has another port.
                UdpSocket::bind("0.0.0.0:0").await?.send_to(b"who calls?", host).await?;
            }
            io::Result::Ok(())
        });
        sent.await?;
        lab.client().get(host).await?;
        lab.client().ask_udp(other).await?;
    }
    tool.read_until("a port has used up its share of the descriptors").await?;
    tool.read_until("*:8080").await?;
    Ok(())
}

async fn silent() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    // It listens, and never accepts.
    let _silent = web.run(TcpListener::bind("0.0.0.0:81")).await?;
    let specs = ["8080:81", "8081:80", "8082:80/udp", "--to", &web.addr4().to_string()];
    let mut tool = limited(lab.host(), 256, &specs).await?;
    let at = |port| SocketAddr::from((lab.host().addr4(), port));
    let silent = at(8080);
    let connected = lab.client().run(async move {
        let mut streams = Vec::new();
        for _ in 0..300 {
            streams.push(TcpStream::connect(silent).await?);
        }
        io::Result::Ok(streams)
    });
    let streams = connected.await?;
    tool.read_until("a port has used up its share of the descriptors").await?;
    for _ in 0..20 {
        lab.client().get(at(8081)).await?;
        lab.client().ask_udp(at(8082)).await?;
    }
    drop(streams);
    Ok(())
}
