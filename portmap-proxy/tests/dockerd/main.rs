//! The drop-in for docker-proxy under a real dockerd, which has namespaces and a folder of its own.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    process::ExitCode,
    time::Duration,
};

use portmap_testkit::{BoxError, Child, ChildError, Lab, Need, Node, Suite, Webapp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portmap-docker-proxy");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dockerd/daemon.sh");
const LIMIT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let needs = [Need::Root, Need::Busybox, Need::Tool("dockerd"), Need::Tool("unshare")];
    suite.test("dockerd_publishes_by_it", &needs, publishes);
    suite.run()
}

async fn publishes() -> Result<(), BoxError> {
    let folder = env::temp_dir().join(format!("portmap-dockerd-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let tested = test_in(&folder.to_string_lossy()).await;
    fs::remove_dir_all(&folder)?;
    tested
}

async fn test_in(folder: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let namespaces = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let served = format!("/www-{}", std::process::id());
    let args = namespaces.into_iter().chain(["sh", SCRIPT, folder, PROGRAM, &served]);
    let mut daemon = host.command("unshare", args).await?;
    for stage in ["dockerd is up\n", "the image is built\n", "published\n"] {
        until(&mut daemon, stage).await?;
    }
    for addr in ["127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(get(host, addr.parse()?).await?, "hello\n", "{addr}");
    }
    // busybox has nothing that answers over UDP: a webapp of this process joins the container.
    let web = Node::join("web", namespace_of(&served)?).await?;
    let _webapp = Webapp::start(&web, 81).await?;
    for addr in ["127.0.0.1:8081", "[::1]:8081"] {
        let page = host.ask_udp(addr.parse()?).await?;
        assert_eq!(page.remote_ip, Ipv4Addr::new(172, 17, 0, 1), "{addr}");
    }
    until(&mut daemon, "from another bridge: hello\n").await?;
    until(&mut daemon, "Error starting userland proxy: ").await?;
    until(&mut daemon, "9999/tcp is in use by busybox (pid ").await?;
    daemon.end_input();
    until(&mut daemon, "removed\n").await?;
    until(&mut daemon, "no proxy is left\n").await?;
    Ok(())
}

/// Reads on; a daemon takes longer than the programs that a child's own limit is made for.
async fn until(daemon: &mut Child, text: &str) -> Result<(), BoxError> {
    for _ in 0..3 {
        match daemon.read_until(text).await {
            Err(ChildError::Silent { .. }) => {}
            read => return Ok(read.map(drop)?),
        }
    }
    Err(format!("no {text:?} came, but {:?}", daemon.transcript()).into())
}

async fn get(host: &Node, addr: SocketAddr) -> Result<String, BoxError> {
    let got = host.run(timeout(LIMIT, async move {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        std::io::Result::Ok(page)
    }));
    let page = got.await??;
    Ok(page.split_once("\r\n\r\n").map_or(page.clone(), |(_, body)| body.to_owned()))
}

/// The network namespace of the process that serves a folder.
fn namespace_of(served: &str) -> Result<OwnedFd, BoxError> {
    for process in fs::read_dir("/proc")?.flatten() {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let args = [b"httpd".as_slice(), b"-f", b"-p", b"80", b"-h", served.as_bytes()];
        if command.split(|byte| *byte == 0).skip(1).take(args.len()).eq(args) {
            return Ok(File::open(process.path().join("ns/net"))?.into());
        }
    }
    Err(format!("nobody serves {served}").into())
}
