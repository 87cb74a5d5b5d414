//! The tool as a person runs it: a process, its output, its signals, and what it leaves behind.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::sys::signal::Signal;
use portmap::BoxError;
use portmap_testkit::{Lab, Need, Suite, Webapp};
use tokio::time::sleep;

use crate::{
    process::{links, listeners, signal, start},
    support::tool,
};

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns];
    let setpriv = [Need::Netns, Need::Tool("setpriv")];
    suite.test("publish_serves_a_webapp_and_leaves_nothing_behind", &netns, webapp);
    suite.test("publish_tells_the_webapp_who_is_calling", &netns, source);
    suite.test("publish_without_privilege_serves_a_webapp_in_process", &setpriv, unprivileged);
    suite.test("publish_cleans_up_after_one_that_was_killed", &netns, killed);
    suite.test("publish_runs_twice_at_once", &netns, twice);
    suite.test("publish_says_in_one_line_what_is_wrong", &netns, errors);
    suite.test("publish_names_both_addresses_of_a_refused_dial", &netns, refused);
    suite.test("publish_on_lo_alone_has_its_exact_output", &netns, output);
}

async fn source() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = links(host).await?;
    for (source, specs) in [
        ("proxy-v1", &["8080:80"][..]),
        ("proxy-v2", &["8080:80", "8080:80/udp"]),
        ("transparent", &["8080:80", "8080:80/udp"]),
    ] {
        let mut tool = start(host, &[&["--source", source], specs].concat()).await?;
        let client = lab.client();
        for to in [IpAddr::from(host.addr4()), host.addr6().into()] {
            let own: IpAddr =
                if to.is_ipv4() { client.addr4().into() } else { client.addr6().into() };
            let to = SocketAddr::new(to, 8080);
            let page = client.get(to).await.map_err(|error| format!("{source}: {error}"))?;
            assert_eq!(page.remote_ip, own, "{source}");
            if specs.len() > 1 {
                assert_eq!(client.ask_udp(to).await?.remote_ip, own, "{source}");
            }
        }
        signal(&tool, Signal::SIGINT)?;
        assert!(tool.wait().await?.success(), "{}", tool.transcript());
        assert_eq!(links(host).await?, before);
    }
    Ok(())
}

async fn webapp() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = links(host).await?;
    for end in [Signal::SIGINT, Signal::SIGTERM] {
        let mut tool =
            start(host, &["--mode=proxy", "8080:80", "127.0.0.1:8081:81", "8080:80/udp"]).await?;
        let said = tool.transcript();
        let gateway =
            said.split_once("behind bridge portmap0 (").and_then(|(_, rest)| rest.split_once(')'));
        let gateway: IpAddr = gateway.ok_or_else(|| said.clone())?.0.parse()?;

        let seen = format!("seen as {gateway}:");
        let page = lab.client().get((host.addr4(), 8080).into()).await?;
        assert_eq!(page.remote_ip, gateway);
        tool.read_until(&format!("to {}:8080, {seen}", host.addr4())).await?;
        let page = host.get("127.0.0.1:8081".parse()?).await?;
        assert_eq!(page.remote_ip, gateway);
        tool.read_until(&format!("to 127.0.0.1:8081, {seen}")).await?;
        let page = lab.client().ask_udp((host.addr4(), 8080).into()).await?;
        assert_eq!(page.remote_ip, gateway);
        assert_eq!(links(host).await?.len(), before.len() + 2, "a bridge and a link to the webapp");

        signal(&tool, end)?;
        assert!(tool.wait().await?.success(), "{}", tool.transcript());
        let session = format!("to {}:8080/udp, {seen}", host.addr4());
        assert!(tool.transcript().contains(&session), "{}", tool.transcript());
        assert_eq!(links(host).await?, before, "after {end}");
        assert_eq!(listeners(host).await?, 0);
    }
    Ok(())
}

async fn unprivileged() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = links(host).await?;
    let tool = tool()?.to_string_lossy().into_owned();
    let without = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    let args =
        without.into_iter().chain([tool.as_str(), "8080:80", "8082-8084:80-82", "8080:80/udp"]);
    let mut tool = host.command("setpriv", args).await?;
    tool.read_until("Ctrl-C ends it.\n").await?;
    let said = tool.transcript();
    assert!(said.starts_with("mode proxy: no CAP_NET_ADMIN\nwebapp in this process"), "{said}");
    for port in [8080, 8082, 8083, 8084] {
        let page = lab.client().get((host.addr4(), port).into()).await?;
        assert_eq!(page.remote_ip, std::net::Ipv4Addr::LOCALHOST);
    }
    let page = lab.client().ask_udp((host.addr4(), 8080).into()).await?;
    assert_eq!(page.remote_ip, std::net::Ipv4Addr::LOCALHOST);
    signal(&tool, Signal::SIGINT)?;
    assert!(tool.wait().await?.success(), "{}", tool.transcript());
    assert_eq!(links(host).await?, before);
    assert_eq!(listeners(host).await?, 0);
    Ok(())
}

async fn killed() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = links(host).await?;
    let mut tool = start(host, &["--mode=proxy", "8080:80"]).await?;
    signal(&tool, Signal::SIGKILL)?;
    tool.wait().await?;

    let mut again = start(host, &["--mode=proxy", "8080:80"]).await?;
    assert!(again.transcript().contains("bridge portmap0"), "{}", again.transcript());
    lab.client().get((host.addr4(), 8080).into()).await?;
    signal(&again, Signal::SIGINT)?;
    assert!(again.wait().await?.success());
    assert_eq!(links(host).await?, before);
    Ok(())
}

async fn twice() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = links(host).await?;
    let mut one = start(host, &["--mode=proxy", "8080:80"]).await?;
    let mut two = start(host, &["--mode=proxy", "8081:80"]).await?;
    let mut gateways = Vec::new();
    for port in [8080, 8081] {
        gateways.push(lab.client().get((host.addr4(), port).into()).await?.remote_ip);
    }
    assert_ne!(gateways[0], gateways[1]);
    for tool in [&mut one, &mut two] {
        signal(tool, Signal::SIGINT)?;
        assert!(tool.wait().await?.success());
    }
    assert_eq!(links(host).await?, before);
    Ok(())
}

async fn errors() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = links(host).await?;
    let tool = tool()?.to_string_lossy().into_owned();
    let holder = start(host, &["8080:80", "--to", "192.0.2.2"]).await?;
    let pid = holder.pid().ok_or("it has ended")?;
    let taken = format!("publish: [::]:8080/tcp is in use by publish (pid {pid})\n");
    let cases: [(&[&str], i32, &str); 8] = [
        (&["8080:80"], 1, &taken),
        (&["9000:80", "0.0.0.0:8080:80", "--to", "192.0.2.2"], 1, &taken),
        (
            &["192.0.2.1:80:80", "--to", "192.0.2.2"],
            1,
            "publish: 192.0.2.1 is not an address of this host\n",
        ),
        (&["9000:80/sctp", "--to", "192.0.2.2"], 1, "publish: the proxy does not serve sctp\n"),
        (
            &["9000:80/udp", "--source", "proxy-v1", "--to", "192.0.2.2"],
            1,
            "publish: version 1 of the PROXY protocol has no UDP; version 2 has\n",
        ),
        (
            &["9000:80", "--source", "transparent", "--to", "192.0.2.2"],
            1,
            "publish: container 192.0.2.2 lies in no network: add its --network BRIDGE=SUBNET\n",
        ),
        (&["9000:80", "--source", "gateway", "--mode", "rules"], 2, "--source is for --mode proxy"),
        (&["9000:70000"], 2, "container port 70000 is not between 1 and 65535\n"),
    ];
    for (args, status, message) in cases {
        let ended = host.exec(&tool, args.iter().copied()).await?;
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(message), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count() > 1, status == 2, "{}", ended.stderr);
    }
    assert_eq!(listeners(host).await?, 1, "the holder's");
    assert_eq!(links(host).await?, before);
    Ok(())
}

async fn refused() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let endpoint = web.addr4().to_string();
    let mut tool = start(host, &["8080:80", "--to", &endpoint]).await?;
    let published = SocketAddr::from((host.addr4(), 8080));
    let error = lab.client().get(published).await.expect_err("nobody is there");
    assert!(matches!(error, portmap_testkit::CallError::Reset), "{error}");
    let client = lab.client().addr4();
    tool.read_until(&format!("{client}:")).await?;
    tool.read_until(&format!(" could not be connected to {endpoint}:80")).await?;
    tool.read_until("Connection refused").await?;

    // The container may come later than its port.
    let _webapp = Webapp::start(&web, 80).await?;
    lab.client().get(published).await?;
    Ok(())
}

async fn output() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let specs = ["8080:80", "127.0.0.1:9000-9010:9000-9010/TCP", "--to", "192.0.2.2,2001:db8::2"];
    let mut tool = start(lab.host(), &specs).await?;
    let expected = "\
mode proxy: container 192.0.2.2 lies in no network: add its --network BRIDGE=SUBNET
container at 192.0.2.2,2001:db8::2, by the proxy
protocol  host address         endpoint
tcp       *:8080               192.0.2.2:80, [2001:db8::2]:80
tcp       127.0.0.1:9000-9010  192.0.2.2:9000-9010, [2001:db8::2]:9000-9010
Ctrl-C ends it.
";
    sleep(Duration::from_millis(100)).await;
    assert_eq!(tool.transcript(), expected);
    signal(&tool, Signal::SIGINT)?;
    assert!(tool.wait().await?.success());
    assert_eq!(tool.transcript(), expected);
    Ok(())
}
