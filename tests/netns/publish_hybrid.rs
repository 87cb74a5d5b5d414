//! The tool with NAT in the kernel beside its proxy, as a person runs it, and where it chooses that by itself.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::sys::signal::Signal;
use portmap::BoxError;
use portmap_testkit::{CallError, Lab, Need, Suite, Webapp};
use tokio::{net::TcpStream, time::sleep};

use crate::{
    process::start,
    publish_rules::{WITHOUT, end, look, outside, quiet},
    support::{dual, network_of, tool},
};

pub(crate) fn tests(suite: &mut Suite) {
    let nft = [Need::Netns, Need::Tool("nft")];
    let iptables = [Need::Netns, Need::Tool("nft"), Need::Tool("iptables")];
    let setpriv = [Need::Netns, Need::Tool("nft"), Need::Tool("setpriv")];
    suite.test("publish_is_hybrid_where_the_host_allows_it_and_withdraws_all", &nft, by_default);
    suite.test("publish_by_both_serves_containers_that_were_named", &iptables, named);
    suite.test("publish_falls_to_the_proxy_where_the_rules_have_an_owner", &nft, twice);
    suite.test("publish_by_both_dials_from_inside_by_the_proxy_alone", &nft, inside);
    suite.test("publish_by_both_says_what_is_served_by_one_alone", &nft, alone);
    suite.test("publish_by_both_says_what_it_cannot_do_and_changes_nothing", &setpriv, refused);
}

async fn by_default() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let stranger = docker0.container("stranger").await?;
    let network = network_of(&docker0)?.to_string();
    let before = quiet(host).await?;
    for by in [Signal::SIGINT, Signal::SIGTERM] {
        let mut tool = start(host, &["8080:80", "8080:80/udp", "--network", &network]).await?;
        let said = tool.transcript();
        assert!(
            said.starts_with("mode hybrid\nwebapp in a network namespace of its own"),
            "{said}"
        );
        for (addr, client) in outside(&lab) {
            let to = SocketAddr::new(addr, 8080);
            assert_eq!(lab.client().get(to).await?.remote_ip, client, "seen as itself");
            assert_eq!(lab.client().ask_udp(to).await?.remote_ip, client, "seen as itself");
        }
        for (addr, client) in outside(&lab) {
            let to = SocketAddr::new(addr, 8080);
            let held = lab.client().run(TcpStream::connect(to)).await?;
            let (seen, said) = (held.local_addr()?, tool.transcript());
            assert_eq!(seen.ip(), client);
            sleep(Duration::from_millis(1100)).await;
            drop(held);
            tool.read_until(&format!("{seen} to {to}, seen as {seen}, ")).await?;
            assert!(!said.contains(&seen.to_string()), "{said}");
        }
        let gateways: [IpAddr; 2] = ["172.31.254.1".parse()?, "fd00:706d::1".parse()?];
        for (to, gateway) in ["127.0.0.1:8080", "[::1]:8080"].into_iter().zip(gateways) {
            let to: SocketAddr = to.parse()?;
            assert_eq!(host.get(to).await?.remote_ip, gateway, "{to}");
            assert_eq!(host.ask_udp(to).await?.remote_ip, gateway, "{to}");
            tool.read_until(&format!("to {to}, seen as ")).await?;
        }
        let page = stranger.get((host.addr4(), 8080).into()).await?;
        assert_eq!(page.remote_ip, gateways[0], "another network, by the proxy");
        assert_ne!(look(host).await?, before);

        end(&mut tool, by).await?;
        let said = tool.transcript();
        assert_eq!(look(host).await?, before, "after {by}: {said}");
        // The kernel remembers a UDP flow for some time, and what it does with it then nobody looks at.
        let left = said.lines().filter(|line| line.ends_with("not followed beyond the release"));
        assert_eq!(left.filter(|line| line.contains(":8080/udp, seen as ")).count(), 2, "{said}");
        let gone = lab.client().get((host.addr4(), 8080).into()).await;
        assert!(matches!(gone, Err(CallError::Refused)), "{gone:?}");
    }
    Ok(())
}

/// As beside dockerd, which leaves `FORWARD` so.
async fn alone() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let chain = "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }";
    assert!(host.exec("nft", [chain]).await?.status.success());
    let specs = ["--mode", "hybrid", "8080:80", "8081:81", "8082:80/sctp"];
    for (args, way, client) in [
        (
            &specs[..4],
            "*:8080/tcp, *:8081/tcp by the proxy alone: ",
            IpAddr::from([172, 31, 254, 1]),
        ),
        (
            &[&specs[..3], &["--foreign-drop", "open"]].concat(),
            "NAT in the kernel by rules ",
            lab.client().addr4().into(),
        ),
    ] {
        let mut published = start(host, args).await?;
        let said = published.transcript();
        assert!(said.contains(way), "{said}");
        let alone = said.contains("\nbecause chain FORWARD in table ipv4 filter of iptables");
        assert_eq!(alone, way.contains("alone"), "{said}");
        assert_eq!(said.contains("NAT in the kernel"), !alone, "{said}");
        let page = lab.client().get((host.addr4(), 8080).into()).await?;
        assert_eq!(page.remote_ip, client, "{said}");
        end(&mut published, Signal::SIGINT).await?;
    }
    assert!(host.exec("nft", ["delete table ip filter"]).await?.status.success());
    let mut published = start(host, &specs).await?;
    let said = published.transcript();
    assert!(
        said.contains("*:8082/sctp by NAT alone: ") && said.contains("NAT in the kernel"),
        "{said}"
    );
    end(&mut published, Signal::SIGINT).await?;
    let nowhere = ["--network", "nowhere=192.0.2.0/24", "8080:80@192.0.2.2"];
    let refused = host.exec(&tool()?.to_string_lossy(), nowhere).await?;
    assert_eq!(
        refused.stderr,
        "publish: there is no bridge nowhere here, which a network is said to have\n"
    );
    Ok(())
}

async fn named() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let (docker0, br0) = (lab.docker0().await?, lab.br0().await?);
    let (web, other) = (docker0.container("web").await?, br0.container("other").await?);
    let neighbour = docker0.container("neighbour").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let before = quiet(host).await?;
    let networks = [network_of(&docker0)?.to_string(), network_of(&br0)?.to_string()];
    let spec = format!("8080:80@{}", dual(&web));
    for backend in ["nftables", "iptables"] {
        let args = ["--network", &networks[0], "--network", &networks[1], "--backend", backend];
        // A rule language is asked for, and so are rules.
        let mut tool = start(host, &[&args[..], &[&spec]].concat()).await?;
        let said = tool.transcript();
        assert!(
            said.contains(&format!("rules PORTMAP of {backend} for clients outside")),
            "{said}"
        );
        for (addr, client) in outside(&lab) {
            assert_eq!(lab.client().get((addr, 8080).into()).await?.remote_ip, client, "{backend}");
        }
        let to = SocketAddr::from((host.addr4(), 8080));
        for caller in [&other, &neighbour, &web] {
            let page = caller.get(to).await?;
            assert_eq!(page.remote_ip, docker0.gateway4(), "{backend}: {}", caller.name());
        }
        let loopback = host.get("[::1]:8080".parse()?).await?;
        assert_eq!(Some(loopback.remote_ip), docker0.gateway6().map(IpAddr::from), "{backend}");
        end(&mut tool, Signal::SIGTERM).await?;
        assert_eq!(look(host).await?, before, "{backend}");
    }
    Ok(())
}

async fn twice() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = quiet(host).await?;
    let mut first = start(host, &["8080:80"]).await?;
    let one = look(host).await?;
    let mut second = start(host, &["8081:80"]).await?;
    let said = second.transcript();
    let why = format!(
        "mode proxy: the rules have another owner: the rules of PORTMAP belong to publish (pid {}) in \
         this network namespace; choose another --prefix\nwebapp in a network namespace",
        first.pid().ok_or("it has ended")?
    );
    assert!(said.starts_with(&why), "{said}");
    let page = lab.client().get((host.addr4(), 8081).into()).await?;
    assert_ne!(page.remote_ip, lab.client().addr4(), "by the proxy");
    end(&mut second, Signal::SIGINT).await?;
    assert_eq!(look(host).await?, one);
    // Who asks for it in so many words is told instead.
    let args = ["--mode", "hybrid", "8081:80"];
    let ended = host.exec(&tool()?.to_string_lossy(), args).await?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("publish: the rules have another owner"), "{}", ended.stderr);
    assert_eq!(look(host).await?, one);
    end(&mut first, Signal::SIGINT).await?;
    assert_eq!(look(host).await?, before);
    Ok(())
}

async fn inside() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let (web, lonely) = (docker0.container("web").await?, docker0.container("lonely").await?);
    let _webapps = [Webapp::start(&web, 80).await?, Webapp::start(&lonely, 80).await?];
    let sleeper = lonely.command("sleep", ["60"]).await?;
    let pid = sleeper.pid().ok_or("it has ended")?;
    let before = quiet(host).await?;
    let network = network_of(&docker0)?.to_string();
    let specs = [format!("8080:80@{}", web.addr4()), format!("8081:80@pid:{pid}")];
    let mut tool = start(host, &["--network", &network, &specs[0], &specs[1]]).await?;
    let said = tool.transcript();
    assert!(said.starts_with("mode hybrid\n"), "{said}");
    assert!(said.contains("127.0.0.1 of its own namespace, by the proxy alone\n"), "{said}");
    let client = lab.client();
    for (port, name, seen) in [
        (8080, "web", IpAddr::from(client.addr4())),
        (8081, "lonely", IpAddr::from([127, 0, 0, 1])),
    ] {
        let page = client.get((host.addr4(), port).into()).await?;
        assert_eq!((page.hostname.as_str(), page.remote_ip), (name, seen));
    }
    end(&mut tool, Signal::SIGTERM).await?;
    assert_eq!(look(host).await?, before);
    Ok(())
}

async fn refused() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = quiet(host).await?;
    let tool = tool()?.to_string_lossy().into_owned();
    let denied = "publish: NAT in the kernel needs CAP_NET_ADMIN\n";
    for args in [&["--mode", "hybrid", "8080:80"], &["--backend", "nftables", "8080:80"]] {
        let args = [tool.as_str()].into_iter().chain(args.iter().copied());
        let ended = host.exec("setpriv", WITHOUT.into_iter().chain(args)).await?;
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(1), denied));
    }
    let ended = host.exec(&tool, ["--mode", "hybrid", "8080:80", "--to", "192.0.2.2"]).await?;
    let lost = "publish: container 192.0.2.2 lies in no network: add its --network BRIDGE=SUBNET\n";
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(1), lost));
    // A port that is taken: everything is undone.
    let mut holder = start(host, &["9000:80", "--to", "192.0.2.2"]).await?;
    let held = look(host).await?;
    let ended = host.exec(&tool, ["8080:80", "9000:80"]).await?;
    assert!(ended.stderr.starts_with("publish: [::]:9000/tcp is in use by"), "{}", ended.stderr);
    assert_eq!(look(host).await?, held);
    end(&mut holder, Signal::SIGINT).await?;
    assert_eq!(look(host).await?, before);
    Ok(())
}
