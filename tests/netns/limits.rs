//! Many at once: idle connections, sessions and listeners, and what each costs the process that serves them.

use std::{fs, io::ErrorKind, net::SocketAddr, time::Duration};

use nix::sys::resource::{Resource, getrlimit};
use portmap::BoxError;
use portmap_testkit::{Child, Lab, Need, Node, Suite, Webapp};
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    time::sleep,
};

use crate::process::start;

pub(crate) fn tests(suite: &mut Suite) {
    let clients = Need::Descriptors(CONNECTIONS + REST);
    suite.test("idle_connections_cost_little_memory", &[Need::Netns, clients], idle_connections);
    let clients = Need::Descriptors(SESSIONS as u64 + REST);
    suite.test("sessions_cost_little_memory", &[Need::Netns, clients], sessions);
    suite.test("listeners_cost_little_memory", &[Need::Netns], listeners);
}

const CONNECTIONS: u64 = 10_000;
const SESSIONS: usize = 5000;
const LISTENERS: u16 = 200;
/// In KiB of resident memory, of an unoptimised build. Loose: what is measured is printed.
const MOST_A_CONNECTION: f64 = 8.0;
const MOST_A_SESSION: f64 = 3.5;
const MOST_A_LISTENER: f64 = 16.0;
/// Descriptors for everything else that goes on in a process.
const REST: u64 = 1000;

/// Resident memory of a process, in KiB.
fn resident(tool: &Child) -> Result<f64, BoxError> {
    let status = fs::read_to_string(format!("/proc/{}/status", tool.pid().ok_or("it has ended")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("no VmRSS")?.parse()?)
}

/// How many tools it takes to have two descriptors for each of 10,000 connections: each may have as many as this process.
fn tools() -> Result<u16, BoxError> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok((2 * CONNECTIONS).div_ceil(limit.saturating_sub(REST)).try_into()?)
}

async fn idle_connections() -> Result<(), BoxError> {
    let tools = tools()?;
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    web.sysctl("net/core/somaxconn", &CONNECTIONS.to_string()).await?;
    let backlog = u32::try_from(CONNECTIONS)?;
    let _waiting = web
        .run(async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(([0, 0, 0, 0], 80).into())?;
            socket.listen(backlog)
        })
        .await?;
    let (mut before, mut after, mut clients) = (0.0, 0.0, Vec::new());
    let mut running = Vec::new();
    for number in 0..tools {
        let port = 8080 + number;
        let tool =
            start(lab.host(), &[&format!("{port}:80"), "--to", &web.addr4().to_string()]).await?;
        before += resident(&tool)?;
        let host = SocketAddr::from((lab.host().addr4(), port));
        let share = CONNECTIONS / u64::from(tools);
        let connected = lab.client().run(async move {
            let mut streams = Vec::new();
            for _ in 0..share {
                streams.push(TcpStream::connect(host).await?);
            }
            std::io::Result::Ok(streams)
        });
        clients.extend(connected.await?);
        running.push(tool);
    }
    let established = established(&web, clients.len()).await?;
    for tool in &running {
        after += resident(tool)?;
    }
    let each = (after - before) / clients.len() as f64;
    let count = clients.len();
    eprintln!("{count} idle connections, {tools} tools: {each:.2} KiB of resident memory each");
    assert_eq!(established, count);
    assert!(each < MOST_A_CONNECTION, "{each:.2} KiB");
    Ok(())
}

/// Waits until a container has that many connections, and says how many it has after all.
async fn established(web: &Node, count: usize) -> Result<usize, BoxError> {
    let mut found = 0;
    for _ in 0..100 {
        let table = web.run(async { fs::read_to_string("/proc/thread-self/net/tcp") }).await?;
        found = table.lines().filter(|line| line.split_whitespace().nth(3) == Some("01")).count();
        if found == count {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(found)
}

async fn sessions() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let webapp = Webapp::start(&web, 80).await?;
    let tool = start(lab.host(), &["8080:80/udp", "--to", &web.addr4().to_string()]).await?;
    let host = SocketAddr::from((lab.host().addr4(), 8080));
    // What is made once only.
    lab.client().ask_udp(host).await?;
    let before = resident(&tool)?;
    let clients = lab.client().run(async move {
        let mut clients = Vec::with_capacity(SESSIONS);
        for _ in 0..SESSIONS {
            let client = UdpSocket::bind("0.0.0.0:0").await?;
            client.connect(host).await?;
            client.send(b"who calls?").await?;
            client.recv(&mut [0; 1024]).await?;
            clients.push(client);
        }
        std::io::Result::Ok(clients)
    });
    let clients = clients.await?;
    let each = (resident(&tool)? - before) / clients.len() as f64;
    eprintln!("{} sessions: {each:.2} KiB of resident memory each", clients.len());
    assert_eq!(webapp.seen().len(), clients.len() + 1);
    assert!(each < MOST_A_SESSION, "{each:.2} KiB");
    Ok(())
}

async fn listeners() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let one = start(lab.host(), &["8080:80", "--to", "192.0.2.2"]).await?;
    let range = format!("20000-{0}:20000-{0}", 20_000 + LISTENERS);
    let many = start(lab.host(), &[&range, "--to", "192.0.2.2"]).await?;
    sleep(Duration::from_millis(100)).await;
    let each = (resident(&many)? - resident(&one)?) / f64::from(LISTENERS);
    eprintln!("{LISTENERS} listeners: {each:.2} KiB of resident memory each");
    assert!(each < MOST_A_LISTENER, "{each:.2} KiB");
    for port in [20_000, 20_000 + LISTENERS] {
        let host = SocketAddr::from((lab.host().addr4(), port));
        let connected = lab.client().run(TcpStream::connect(host)).await;
        // The endpoint does not exist: the client is reset, at whatever moment, and not refused.
        let served =
            connected.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true);
        assert!(served, "port {port} is not served");
    }
    Ok(())
}
