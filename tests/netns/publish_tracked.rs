//! What the tool tells of connections that NAT serves: it sees them in connection tracking.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portmap::BoxError;
use portmap_testkit::{Lab, Need, Suite};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::{
    process::signal,
    publish_rules::{end, outside},
    publish_told::Terminal,
    support::{network_of, tool},
};

pub(crate) fn tests(suite: &mut Suite) {
    let nft = [Need::Netns, Need::Tool("nft")];
    let iptables = [Need::Netns, Need::Tool("nft"), Need::Tool("iptables")];
    for (mode, backend, counts, needs) in [
        ("rules", "nftables", true, &nft[..]),
        ("rules", "iptables", false, &iptables[..]),
        ("hybrid", "nftables", false, &nft[..]),
        ("hybrid", "iptables", true, &iptables[..]),
    ] {
        let name = format!("publish_by_{mode}_of_{backend}_tells_a_program_what_nat_serves");
        suite.test(&name, needs, async move || json(mode, backend, counts).await);
    }
    suite.test("publish_shows_a_terminal_what_nat_serves", &nft, live);
    suite.test("publish_tells_a_program_of_a_container_that_nat_does_not_reach", &nft, unanswered);
    suite.test("publish_looks_at_nothing_where_nobody_reads_it", &nft, unwatched);
}

async fn json(mode: &str, backend: &str, counts: bool) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let (host, client) = (lab.host(), lab.client());
    host.sysctl("net/netfilter/nf_conntrack_acct", if counts { "1" } else { "0" }).await?;
    for timeout in ["udp_timeout", "udp_timeout_stream"] {
        host.sysctl(&format!("net/netfilter/nf_conntrack_{timeout}"), "2").await?;
    }
    let specs = ["8080:80", "8080:80/udp", "--json", "--mode", mode, "--backend", backend];
    let mut tool = host.command(&tool()?.to_string_lossy(), specs).await?;
    tool.read_until("\"event\":\"published\"").await?;
    let said = tool.transcript();
    assert_eq!(said.contains("nf_conntrack_acct=1 would"), !counts, "{said}");
    let mut clients = Vec::new();
    for (addr, seen) in outside(&lab) {
        let to = SocketAddr::new(addr, 8080);
        let mut stream = client.run(TcpStream::connect(to)).await?;
        let from = stream.local_addr()?;
        assert_eq!(from.ip(), seen);
        tool.read_until(&format!("\"client\":\"{from}\"")).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await?;
        stream.read_u8().await?;
        drop(stream);
        tool.read_until(&format!("\"seen_as\":\"{from}\"")).await?;
        clients.push((from, to));
        // Over before it is looked at again, but not forgotten.
        client.get(to).await?;
        client.ask_udp(to).await?;
        tool.read_until("\"event\":\"closed\"").await?;
    }
    if mode == "hybrid" {
        host.get("127.0.0.1:8080".parse()?).await?;
        tool.read_until("\"by\":\"proxy\"").await?;
    }
    // The flows of UDP are forgotten by now, or in a moment.
    sleep(Duration::from_secs(4)).await;
    let open = client.run(TcpStream::connect(clients[0].1)).await?;
    tool.read_until(&format!("\"client\":\"{}\"", open.local_addr()?)).await?;
    signal(&tool, Signal::SIGINT)?;
    assert!(tool.wait().await?.success(), "{}", tool.transcript());

    let said = tool.transcript();
    let lines = said.lines().filter(|line| line.starts_with('{'));
    let events = lines.map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let of = |kind: &str, client: SocketAddr| {
        let is = |event: &&Value| event["event"] == kind && event["client"] == client.to_string();
        let its: Vec<_> = events.iter().filter(is).collect();
        match its[..] {
            [event] => Ok(event),
            _ => Err(format!("not one {kind} of {client}: {said}")),
        }
    };
    for (from, to) in clients {
        let (opened, closed) = (of("opened", from)?, of("closed", from)?);
        for event in [opened, closed] {
            assert_eq!((&event["by"], &event["host"]), (&"nat".into(), &to.to_string().into()));
            assert_eq!((&event["protocol"], &event["container_port"]), (&"tcp".into(), &80.into()));
            assert!(
                event["path"].as_str().is_some_and(|path| path.starts_with("over ")),
                "{event}"
            );
        }
        assert_eq!(
            (&opened["id"], closed["seen_as"].as_str()),
            (&closed["id"], Some(&*from.to_string()))
        );
        assert_eq!(closed["bytes_in"].as_u64() > Some(100), counts, "{closed}");
        assert_eq!(closed["bytes_out"].as_u64() > Some(100), counts, "{closed}");
        assert_eq!(closed["ending"], Value::Null);
    }
    let by_nat = |protocol: &str, kind: &str| {
        let is = |event: &&Value| {
            (&event["by"], &event["protocol"], &event["event"])
                == (&"nat".into(), &protocol.into(), &kind.into())
        };
        events.iter().filter(is).collect::<Vec<_>>()
    };
    assert_eq!((by_nat("udp", "opened").len(), by_nat("udp", "closed").len()), (2, 2), "{said}");
    for closed in by_nat("udp", "closed") {
        assert_eq!(closed["datagrams_in"].as_u64(), counts.then_some(1), "{closed}");
        assert_eq!(closed["ending"], Value::Null, "{closed}");
    }
    // The two that were held, the two that were not, and the one that is open still.
    assert_eq!((by_nat("tcp", "opened").len(), by_nat("tcp", "closed").len()), (5, 5), "{said}");
    let left = of("closed", open.local_addr()?)?;
    assert_eq!(left["ending"], "not followed beyond the release");
    Ok(())
}

async fn live() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let (host, client) = (lab.host(), lab.client());
    host.sysctl("net/netfilter/nf_conntrack_acct", "1").await?;
    for mode in ["rules", "hybrid"] {
        let mut terminal = Terminal::start(host, &["8080:80", "--mode", mode]).await?;
        terminal.until("Ctrl-C ends it.").await?;
        let to = SocketAddr::from((host.addr4(), 8080));
        let mut stream = client.run(TcpStream::connect(to)).await?;
        terminal.until(&stream.local_addr()?.to_string()).await?;
        terminal.until("  nat    ").await?;
        terminal.until("1 open, 0 served, 0 refused; ").await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await?;
        stream.read_u8().await?;
        drop(stream);
        terminal.until("0 open, 1 served, 0 refused; ").await?;
        terminal.end()?;
    }
    Ok(())
}

/// Nobody has the address that the port leads to.
async fn unanswered() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let (host, client) = (lab.host(), lab.client());
    let docker0 = lab.docker0().await?;
    host.sysctl("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", "2").await?;
    let (network, spec) = (network_of(&docker0)?.to_string(), "8080:80@172.17.0.99");
    let args = ["--mode", "rules", "--json", "--network", &network, spec];
    let mut tool = host.command(&tool()?.to_string_lossy(), args).await?;
    tool.read_until("\"event\":\"published\"").await?;
    let to = SocketAddr::from((host.addr4(), 8080));
    client.spawn(async move { TcpStream::connect(to).await.map(drop) });
    tool.read_until("\"event\":\"opened\"").await?;
    tool.read_until("\"cause\":\"the container did not answer\"").await?;
    end(&mut tool, Signal::SIGINT).await
}

/// The thread that asks connection tracking is there only if somebody reads what it finds.
async fn unwatched() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let program = tool()?;
    let mut quiet = host
        .run(async move {
            let mut tool = Command::new(program);
            tool.args(["8080:80", "--mode", "rules"]).stdin(Stdio::null());
            tool.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        })
        .await?;
    let to = SocketAddr::from((host.addr4(), 8080));
    for tries in 0.. {
        match lab.client().get(to).await {
            Ok(_) => break,
            Err(error) if tries == 50 => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    sleep(Duration::from_secs(1)).await;
    // The mapper has one of its own.
    let asking = |pid: u32| -> Result<usize, BoxError> {
        let mut count = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let name = fs::read_to_string(task?.path().join("comm")).unwrap_or_default();
            count += usize::from(name.trim() == "portmap-ct");
        }
        Ok(count)
    };
    assert_eq!(asking(quiet.id())?, 1);
    kill(Pid::from_raw(quiet.id().try_into()?), Signal::SIGINT)?;
    assert!(quiet.wait()?.success());

    let mut read = crate::process::start(host, &["8080:80", "--mode", "rules"]).await?;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(asking(read.pid().ok_or("it has ended")?)?, 2);
    end(&mut read, Signal::SIGINT).await
}
