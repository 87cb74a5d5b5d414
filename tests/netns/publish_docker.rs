//! The tool with NAT in the kernel and an engine's container, which it follows.

#[path = "../docker/engine.rs"]
mod real;

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;
use portmap::BoxError;
use portmap_testkit::{Lab, Need, Suite, Webapp};
use tokio::{net::TcpStream, time::sleep};

use crate::{
    engine::Engine,
    process::start,
    publish_rules::{end, look, quiet},
    support::tool,
};

pub(crate) fn tests(suite: &mut Suite) {
    let nft = [Need::Netns, Need::Tool("nft")];
    let iptables = [Need::Netns, Need::Tool("nft"), Need::Tool("iptables")];
    for (mode, backend, needs) in [
        ("rules", "nftables", &nft[..]),
        ("rules", "iptables", &iptables[..]),
        ("hybrid", "nftables", &nft[..]),
    ] {
        let name = format!("publish_by_{mode}_of_{backend}_follows_a_container_by_its_name");
        suite.test(&name, needs, async move || followed(mode, backend).await);
    }
    let docker = [Need::Netns, Need::Tool("nft"), Need::Docker, Need::Busybox];
    suite.test("publish_by_rules_follows_a_real_container_by_its_name", &docker, real_engine);
}

async fn followed(mode: &str, backend: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let (host, client) = (lab.host(), lab.client());
    let (docker0, br0) = (lab.docker0().await?, lab.br0().await?);
    let (one, two) = (docker0.container("one").await?, docker0.container("two").await?);
    let other = br0.container("other").await?;
    let _webapps = [Webapp::start(&one, 80).await?, Webapp::start(&two, 80).await?];
    let before = quiet(host).await?;
    let engine = Engine::new()?;
    engine.start(&docker0, one.addr4());

    let (docker, path) = (format!("DOCKER_HOST={}", engine.host()), tool()?);
    let args = ["8080:80", "8080:80/udp", "--docker", "web", "--mode", mode, "--backend", backend];
    let words = [docker.as_str(), &path.to_string_lossy()];
    let mut tool = host.command("env", words.into_iter().chain(args)).await?;
    tool.read_until("Ctrl-C ends it.\n").await?;
    let to = SocketAddr::from((host.addr4(), 8080));
    let answers = async |name: &str| {
        let page = client.get(to).await?;
        assert_eq!((page.hostname.as_str(), page.remote_ip), (name, client.addr4().into()));
        assert_eq!(client.ask_udp(to).await?.hostname, name);
        Ok::<(), BoxError>(())
    };
    answers("one").await?;
    let held = client.run(TcpStream::connect(to)).await?;
    let from = held.local_addr()?.to_string();

    engine.start(&docker0, two.addr4());
    tool.read_until(&format!("container web of Docker, at {} now\n", two.addr4())).await?;
    answers("two").await?;
    // It goes on where it was, and is seen there to its end.
    sleep(Duration::from_millis(2500)).await;
    assert!(!tool.transcript().contains(&from), "{}", tool.transcript());
    drop(held);
    tool.read_until(&format!("{from} to {to}, seen as {from}, ")).await?;
    engine.stop();
    tool.read_until("container web does not run; its ports stay published\n").await?;
    engine.start(&docker0, one.addr4());
    tool.read_until(&format!("container web of Docker, at {} now\n", one.addr4())).await?;
    answers("one").await?;

    // Nobody has attached this bridge.
    engine.start(&br0, other.addr4());
    let unknown = format!(
        "container web of Docker, at {}: the rules were made without its network, {}; its ports stay published",
        other.addr4(),
        br0.name()
    );
    tool.read_until(&unknown).await?;
    answers("one").await?;
    // An address that the rules would look for behind the bridge that they know.
    engine.start(&br0, two.addr4());
    tool.read_until(&format!("at {}: the rules were made without", two.addr4())).await?;
    answers("one").await?;
    engine.start(&docker0, two.addr4());
    tool.read_until(&format!("container web of Docker, at {} now\n", two.addr4())).await?;
    answers("two").await?;
    end(&mut tool, Signal::SIGINT).await?;
    assert_eq!(look(host).await?, before);
    Ok(())
}

/// Docker's bridge is in the host's own namespace: a lab has one of its name, and what is held to Docker is where the
/// rules lead.
async fn real_engine() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let _docker0 = lab.docker0().await?;
    let before = quiet(host).await?;
    let engine = real::Engine::new()?;
    let address =
        |name: &str| real::docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", name]);
    let leads = async |addr: &str| {
        let rules = host.exec("nft", ["list", "map", "inet", "portmap", "on-any4"]).await?.stdout;
        assert!(rules.contains(&format!("tcp . 8080 : {addr} . 80 ")), "{addr}: {rules}");
        Ok::<(), BoxError>(())
    };
    let web = engine.serve("web", "bridge", "80")?;
    let mut tool = start(host, &["8080:80", "--docker", &web, "--mode", "rules"]).await?;
    let addr = address(&web)?;
    leads(&addr).await?;
    real::docker(&["rename", &web, &format!("{web}-old")])?;
    engine.serve("web", "bridge", "80")?;
    let now = address(&web)?;
    assert_ne!(addr, now);
    tool.read_until(&format!("container {web} of Docker, at {now} now\n")).await?;
    leads(&now).await?;
    real::docker(&["kill", &web])?;
    tool.read_until(&format!("container {web} does not run; its ports stay published\n")).await?;
    end(&mut tool, Signal::SIGINT).await?;
    assert_eq!(look(host).await?, before);
    Ok(())
}
