//! What the tool makes of more connections by NAT than it can follow.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use nix::sys::signal::Signal;
use portmap::{Binding, BoxError, Endpoint, HostAddr, PortRange, Protocol, rules::Conntrack};
use portmap_testkit::{Lab, Need, Suite};
use tokio::time::{Instant, sleep};

use crate::{
    entries,
    process::signal,
    publish_daemon::patiently,
    publish_told::Terminal,
    support::{network_of, tool},
};

pub(crate) fn tests(suite: &mut Suite) {
    let nft = [Need::Netns, Need::Tool("nft")];
    suite.test("publish_shows_the_newest_of_many_connections_in_little_memory", &nft, live);
    suite.test("publish_tells_a_program_of_the_newest_and_counts_the_others", &nft, json);
}

/// As many as a busy host has.
const MANY: u32 = 100_000;

/// How much memory they may take, in KiB. Kept each by each they took 76 to 106 MB.
const MEMORY: u64 = 40 << 10;

/// Clients of TEST-NET-2's big neighbour, which is for benchmarks (RFC 2544).
fn clients(from: u32, count: u32) -> impl Iterator<Item = SocketAddrV4> {
    (from..from + count).map(|number| {
        let addr = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + number / 1000);
        SocketAddrV4::new(addr, (10_000 + number % 1000) as u16)
    })
}

/// As many as are followed.
const FOLLOWED: usize = 4096;

async fn json() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let network = network_of(&docker0)?.to_string();
    let endpoint = SocketAddrV4::new(Ipv4Addr::new(172, 17, 0, 99), 80);
    let to = SocketAddrV4::new(host.addr4(), 8080);
    let spec = format!("8080:80@{}", endpoint.ip());
    let args = ["--json", "--mode", "rules", "--network", &network, &spec];
    let mut tool = host.command(&tool()?.to_string_lossy(), args).await?;
    tool.read_until("\"event\":\"published\"").await?;
    entries::make(host, clients(0, 5000), to, endpoint).await?;
    patiently(&mut tool, "\"event\":\"unlisted\",\"open\":904,\"ended\":0}\n").await?;
    // The newest ones take the places of others.
    entries::make(host, clients(5000, 100), to, endpoint).await?;
    patiently(&mut tool, "\"event\":\"unlisted\",\"open\":1004,\"ended\":0}\n").await?;
    let told = tool.transcript();
    for client in clients(5000, 100) {
        assert!(told.contains(&format!("\"client\":\"{client}\"")), "{client} is not followed");
    }
    // All are forgotten at once: they have ended.
    let conntrack = host.run(async { Conntrack::open() }).await?;
    let port = "8080".parse()?;
    let ports: PortRange = "80".parse()?;
    let to = Endpoint::from(*endpoint.ip());
    let binding = Binding::new(Protocol::Tcp, HostAddr::Any, port, to, ports);
    conntrack.cut(&Vec::from_iter(binding)).await?;
    patiently(&mut tool, "\"event\":\"unlisted\",\"open\":0,\"ended\":1004}\n").await?;
    signal(&tool, Signal::SIGINT)?;
    assert!(tool.wait().await?.success());
    let told = tool.transcript();
    let count = |what: &str| told.lines().filter(|line| line.contains(what)).count();
    let left = "\"ending\":\"not followed any more: others are newer\"";
    assert_eq!(count(left), 100);
    assert_eq!(count("\"event\":\"opened\""), FOLLOWED + 100);
    assert_eq!(count("\"event\":\"closed\""), FOLLOWED + 100);
    assert_eq!(count("\"event\":\"lost\""), 0);
    Ok(())
}

async fn live() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let network = network_of(&docker0)?.to_string();
    let endpoint = SocketAddrV4::new(Ipv4Addr::new(172, 17, 0, 99), 80);
    let to = SocketAddrV4::new(host.addr4(), 8080);
    let spec = format!("8080:80@{}", endpoint.ip());
    let args = ["--mode", "rules", "--network", &network, &spec];
    let mut terminal = Terminal::start(host, &args).await?;
    terminal.until("Ctrl-C ends it.").await?;
    sleep(Duration::from_secs(2)).await;
    let before = Usage::of(terminal.pid())?;
    entries::make(host, clients(0, MANY), to, endpoint).await?;
    let (begun, at) = (Usage::of(terminal.pid())?, Instant::now());
    for _ in 0..10 {
        if terminal.until(&format!("{MANY} open, ")).await.is_ok() {
            break;
        }
    }
    terminal.until(&format!("{MANY} open, ")).await?;
    sleep(Duration::from_secs(10)).await;
    let usage = Usage::of(terminal.pid())?;
    let grown = usage.memory - before.memory;
    let share = (usage.cpu - begun.cpu).as_secs_f64() / at.elapsed().as_secs_f64();
    eprintln!(
        "{MANY} connections: {grown} KiB more than without, {:.0} % of a core",
        share * 100.0
    );
    assert!(grown < MEMORY, "{grown} KiB");
    terminal.end()
}

/// What a process takes.
struct Usage {
    /// In KiB, the most it ever had.
    memory: u64,
    cpu: Duration,
}

impl Usage {
    fn of(pid: u32) -> Result<Self, BoxError> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let memory = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
        // utime and stime, in hundredths of a second.
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>()?;
        Ok(Self { memory: memory.parse()?, cpu: Duration::from_millis(ticks * 10) })
    }
}
