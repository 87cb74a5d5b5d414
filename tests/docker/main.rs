//! The tool and containers of a real Docker. It runs on the host itself, since Docker's bridges are there: everything is
//! published on a free port of 127.0.0.1.

mod engine;

use std::{env, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portmap::BoxError;
use portmap_testkit::{Child, Need, Node, Suite};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use self::engine::{Engine, docker};

fn main() -> ExitCode {
    // One at a time: an image is built of the layers of another one that is about to go.
    let mut suite = Suite::from_args().serial();
    let needs = [Need::Docker, Need::Busybox];
    suite.test("a_container_without_a_network_is_published_by_its_name", &needs, without_network);
    suite.test("a_container_on_a_bridge_is_connected_to_there", &needs, on_a_bridge);
    suite.test("containers_are_named_beside_their_ports", &needs, several);
    suite.test("a_container_that_cannot_be_published_is_named", &needs, errors);
    suite.test("a_container_is_followed_through_a_restart", &needs, restarted);
    suite.test("a_container_is_followed_to_another_address", &needs, moved);
    suite.test("the_rules_know_a_containers_network", &needs, rules);
    suite.run()
}

/// The tool, and where it has published its first port.
struct Tool {
    child: Child,
    ports: Vec<SocketAddr>,
    /// Reads what the child prints.
    _host: Node,
}

impl Tool {
    async fn start(args: &[&str]) -> Result<Self, BoxError> {
        let host = Node::current().await?;
        // By rules it would change the settings of the host that the test runs on.
        let args = ["--mode=proxy"].into_iter().chain(args.iter().copied());
        let mut child = host.command(&tool()?.to_string_lossy(), args).await?;
        child.read_until("Ctrl-C ends it.\n").await?;
        let said = child.transcript();
        let ports = said.lines().filter_map(|line| line.strip_prefix("tcp "));
        let ports = ports.filter_map(|row| row.split_whitespace().next()?.parse().ok()).collect();
        Ok(Self { child, ports, _host: host })
    }

    /// What is served at a port: the tool's namespace is ours.
    async fn page(&self, port: usize) -> Result<String, BoxError> {
        let addr = *self.ports.get(port).ok_or_else(|| self.child.transcript())?;
        let got = timeout(Duration::from_secs(2), async move {
            let mut stream = TcpStream::connect(addr).await?;
            stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").await?;
            let mut page = String::new();
            stream.read_to_string(&mut page).await?;
            std::io::Result::Ok(page)
        });
        let page = got.await??;
        Ok(page.split_once("\r\n\r\n").map_or(page.clone(), |(_, body)| body.to_owned()))
    }

    /// The page, once the container serves it.
    async fn page_soon(&self, port: usize) -> Result<String, BoxError> {
        for _ in 0..50 {
            if let Ok(page) = self.page(port).await
                && !page.is_empty()
            {
                return Ok(page);
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(format!("no page came: {}", self.child.transcript()).into())
    }

    async fn end(mut self) -> Result<(), BoxError> {
        let pid = self.child.pid().ok_or("it has ended")?;
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGINT)?;
        let ended = self.child.wait().await?;
        assert!(ended.success(), "{}", self.child.transcript());
        Ok(())
    }
}

async fn without_network() -> Result<(), BoxError> {
    let engine = Engine::new()?;
    let web = engine.serve("web", "none", "127.0.0.1:80")?;
    let tool = Tool::start(&["127.0.0.1::80", "--docker", &web]).await?;
    assert_eq!(tool.page_soon(0).await?, "hello\n");
    let said = tool.child.transcript();
    let wanted =
        format!("container {web} of Docker, at 127.0.0.1 of its own namespace, by the proxy\n");
    assert!(said.starts_with(&wanted), "{said}");
    tool.end().await
}

async fn on_a_bridge() -> Result<(), BoxError> {
    let engine = Engine::new()?;
    let web = engine.serve("web", "bridge", "80")?;
    let addr = docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &web])?;
    // By its ID, too.
    let id = docker(&["inspect", "--format", "{{.Id}}", &web])?;
    for name in [&web, &id] {
        let tool = Tool::start(&["127.0.0.1::80", "--docker", name]).await?;
        assert_eq!(tool.page_soon(0).await?, "hello\n");
        let said = tool.child.transcript();
        let wanted = format!("container {name} of Docker, at {addr}, by the proxy\n");
        assert!(said.starts_with(&wanted), "{said}");
        tool.end().await?;
    }
    Ok(())
}

async fn several() -> Result<(), BoxError> {
    let engine = Engine::new()?;
    let one = engine.serve("one", "none", "127.0.0.1:80")?;
    let two = engine.serve("two", "none", "127.0.0.1:81")?;
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &two])?;
    let specs = [
        format!("127.0.0.1::80@docker:{one}"),
        format!("127.0.0.1::81@pid:{pid}"),
        format!("127.0.0.1::81@netns:/proc/{pid}/ns/net"),
    ];
    let tool = Tool::start(&specs.each_ref().map(String::as_str)).await?;
    for port in 0..3 {
        assert_eq!(tool.page_soon(port).await?, "hello\n", "{port}");
    }
    tool.end().await
}

async fn errors() -> Result<(), BoxError> {
    let engine = Engine::new()?;
    let web = engine.serve("web", "none", "127.0.0.1:80")?;
    docker(&["kill", &web])?;
    let host = Node::current().await?;
    let stopped = format!("publish: container {web} does not run\n");
    let inside = "publish: Docker has no container portmap-test-nobody\n";
    for (name, said) in [(web.as_str(), stopped.as_str()), ("portmap-test-nobody", inside)] {
        let args = ["127.0.0.1::80", "--docker", name];
        let ended = host.exec(&tool()?.to_string_lossy(), args).await?;
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(1), said));
    }
    let elsewhere = "DOCKER_HOST=unix:///no/such.sock exec \"$0\" 80 --docker web";
    let path = tool()?.to_string_lossy().into_owned();
    let ended = host.exec("sh", ["-c", elsewhere, &path]).await?;
    let missing = "publish: Docker cannot be asked at /no/such.sock: No such file or directory (os error 2): ";
    assert!(ended.stderr.starts_with(missing), "{}", ended.stderr);
    Ok(())
}

async fn restarted() -> Result<(), BoxError> {
    let engine = Engine::new()?;
    let web = engine.serve("web", "none", "127.0.0.1:80")?;
    let mut tool = Tool::start(&["127.0.0.1::80", "--docker", &web]).await?;
    for _ in 0..2 {
        assert_eq!(tool.page_soon(0).await?, "hello\n");
        docker(&["restart", "--time=0", &web])?;
        tool.child.read_until("of its own namespace now\n").await?;
        assert_eq!(tool.page_soon(0).await?, "hello\n");
    }
    docker(&["kill", &web])?;
    let stopped = format!("container {web} does not run; its ports stay published\n");
    tool.child.read_until(&stopped).await?;
    docker(&["start", &web])?;
    assert_eq!(tool.page_soon(0).await?, "hello\n");
    tool.end().await
}

/// A container of the same name that is another one, elsewhere: what an upgrade leaves.
async fn moved() -> Result<(), BoxError> {
    let engine = Engine::new()?;
    let web = engine.serve("web", "bridge", "80")?;
    let mut tool = Tool::start(&["127.0.0.1::80", "--docker", &web]).await?;
    assert_eq!(tool.page_soon(0).await?, "hello\n");
    let addr = docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &web])?;
    docker(&["rename", &web, &format!("{web}-old")])?;
    engine.serve("web", "bridge", "80")?;
    let now = docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &web])?;
    assert_ne!(addr, now);
    tool.child.read_until(&format!("container {web} of Docker, at {now} now\n")).await?;
    docker(&["rm", "--force", &format!("{web}-old")])?;
    assert_eq!(tool.page_soon(0).await?, "hello\n");
    // And from a bridge to no network at all.
    docker(&["rm", "--force", &web])?;
    engine.serve("web", "none", "127.0.0.1:80")?;
    tool.child.read_until("of its own namespace now\n").await?;
    assert_eq!(tool.page_soon(0).await?, "hello\n");
    tool.end().await
}

async fn rules() -> Result<(), BoxError> {
    let engine = Engine::new()?;
    let web = engine.serve("web", "bridge", "80")?;
    let addr = docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &web])?;
    let host = Node::current().await?;
    let path = tool()?.to_string_lossy().into_owned();
    let args = ["--mode=rules", "--backend=iptables", "--dry-run", "8080:80", "--docker", &web];
    let printed = host.exec(&path, args).await?;
    let rule =
        format!("-A PORTMAP -p tcp -m tcp --dport 8080 -j DNAT --to-destination {addr}:80\n");
    assert!(printed.stdout.contains(&rule), "{}{}", printed.stdout, printed.stderr);
    assert!(printed.stdout.contains("-o docker0 "), "{}", printed.stdout);

    let lonely = engine.serve("lonely", "none", "127.0.0.1:80")?;
    let refused = host.exec(&path, ["--mode=rules", "8080:80", "--docker", &lonely]).await?;
    let said = format!(
        "publish: container {lonely} of Docker, at 127.0.0.1 of its own namespace has no address that NAT could lead to\n"
    );
    assert_eq!((refused.status.code(), refused.stderr), (Some(1), said));
    Ok(())
}

/// The `publish` tool, which cargo builds beside the tests.
fn tool() -> Result<PathBuf, BoxError> {
    let tests = env::current_exe()?;
    let built = tests.parent().and_then(|deps| deps.parent());
    Ok(built.ok_or("the test has no folder")?.join("examples/publish"))
}
