//! What publishing by NAT costs, and what it costs a connection: `cargo bench --bench rules`.
//!
//! Runs in network namespaces of its own, as root or in a user namespace. Every figure is the median of `RUNS` runs
//! with the lowest and the highest beside it; what is compared is run in turn.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    env,
    fmt::{self, Display, Formatter},
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use portmap::{
    Binding, BoxError, Endpoint, HostAddr, HybridMapper, Mapping, Port, PortMapper, PortSpec,
    Protocol, ProxyMapper, Publish, RulesMapper,
    mapper::Reservation,
    rules::{
        Edit, Entry, HostSettings, Iptables, IptablesTools, Layout, Ledger, Loopback, Network,
        Nftables, Policy, Ruleset, TableOwner,
    },
};
use portmap_testkit::{Lab, Node, enter};
use socket2::SockRef;
use tokio::runtime::Builder;

const RUNS: usize = 5;
/// How often, and how long each time, connections are counted: short and often, for the machine's speed drifts.
const COUNTS: usize = 15;
const COUNTED: Duration = Duration::from_millis(700);
const NETWORK: &str = "docker0=172.17.0.0/16";
const WEB: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

fn main() -> ExitCode {
    if let Err(error) = enter() {
        eprintln!("skipped: no network namespaces: {error}");
        return ExitCode::SUCCESS;
    }
    match Builder::new_current_thread().enable_all().build().map(|runtime| runtime.block_on(run()))
    {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    // `cargo bench --bench rules -- cni connections` runs these parts alone.
    let named: Vec<_> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    println!("medians of {RUNS} [lowest, highest]");
    if wanted("nftables") {
        println!("\npublishing by nftables");
        nftables().await?;
        one_port().await?;
    }
    if wanted("iptables") {
        println!("\npublishing by iptables");
        iptables().await?;
    }
    if wanted("cni") {
        println!("\nthe portmap plugin of CNI");
        cni().await?;
    }
    if wanted("connections") {
        println!("\nnew TCP connections a second, through NAT by nftables (medians of {COUNTS})");
        connections().await?;
    }
    Ok(())
}

/// A series of times.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn add(&mut self, begin: Instant) {
        self.0.push(begin.elapsed().as_secs_f64() * 1e3);
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sorted = self.sorted();
        match (sorted.first(), sorted.last()) {
            (Some(low), Some(high)) => {
                write!(f, "{:9.3} [{low:.3}, {high:.3}]", sorted[sorted.len() / 2])
            }
            _ => f.write_str("not measured"),
        }
    }
}

fn single(host: u16, container: u16) -> Result<Binding, BoxError> {
    let (host, container) = (Port::try_from(host)?, Port::try_from(container)?);
    Binding::new(Protocol::Tcp, HostAddr::Any, host, WEB.into(), container.into())
        .ok_or_else(|| "one port fits".into())
}

fn singles(count: u16) -> Result<Vec<Binding>, BoxError> {
    (0..count).map(|n| single(20_000 + n, 20_000 + n)).collect()
}

/// A ledger that knows the network, its rules in force.
async fn based(policy: Policy) -> Result<(Ledger, Nftables), BoxError> {
    let nftables = Nftables::open(TableOwner::Socket)?;
    let mut ledger = Ledger::new(policy);
    let attach = vec![NETWORK.parse::<Network>()?];
    let prepared = ledger.prepare(Edit { attach, ..Edit::default() })?;
    nftables.apply(prepared.transaction().clone()).await?;
    ledger.commit(prepared);
    Ok((ledger, nftables))
}

fn publish(entry: u64, bindings: Vec<Binding>) -> Edit {
    Edit { publish: vec![(Entry(entry), bindings)], ..Edit::default() }
}

async fn nftables() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    lab.host().run(nftables_on_host()).await
}

async fn nftables_on_host() -> Result<(), BoxError> {
    let mut times: [Times; 9] = Default::default();
    let [reserve, range, many_books, many, add_books, add, release, both, gone] = &mut times;
    let request = Publish::new(WEB).with("20000-29999:20000-29999".parse::<PortSpec>()?);
    for _ in 0..RUNS {
        let begin = Instant::now();
        let reservation = Reservation::take(&request).await?;
        reserve.add(begin);
        let bindings: Vec<_> = reservation.bindings().cloned().collect();
        let (ledger, nft) = based(Policy::default()).await?;
        let prepared = ledger.prepare(publish(1, bindings))?;
        let begin = Instant::now();
        nft.apply(prepared.transaction().clone()).await?;
        range.add(begin);
        drop(reservation);
        nft.close().await;

        let (mut ledger, nft) = based(Policy::default()).await?;
        let begin = Instant::now();
        let prepared = ledger.prepare(publish(1, singles(10_000)?))?;
        many_books.add(begin);
        let begin = Instant::now();
        nft.apply(prepared.transaction().clone()).await?;
        many.add(begin);
        ledger.commit(prepared);

        let begin = Instant::now();
        let prepared = ledger.prepare(publish(2, vec![single(8080, 80)?]))?;
        add_books.add(begin);
        let whole = Instant::now();
        nft.apply(prepared.transaction().clone()).await?;
        add.add(whole);
        ledger.commit(prepared);
        let begin = Instant::now();
        let prepared = ledger.prepare(Edit { release: vec![Entry(2)], ..Edit::default() })?;
        nft.apply(prepared.transaction().clone()).await?;
        release.add(begin);
        ledger.commit(prepared);
        nft.close().await;

        let mapper = RulesMapper::open(Policy::default())?;
        let attached = mapper.attach(NETWORK.parse::<Network>()?).await?;
        let begin = Instant::now();
        let lease = mapper.publish(request.clone()).await?;
        both.add(begin);
        let begin = Instant::now();
        lease.release().await?;
        gone.add(begin);
        attached.detach().await?;
        mapper.close().await;
    }
    println!("a range of 10,000 ports: the kernel's part               ms {range}");
    println!("a range of 10,000 ports: reserving its sockets           ms {reserve}");
    println!("a range of 10,000 ports: publish by the mapper           ms {both}");
    println!("a range of 10,000 ports: release by the mapper           ms {gone}");
    println!("10,000 single ports in one publish: compiling            ms {many_books}");
    println!("10,000 single ports in one publish: the kernel's part    ms {many}");
    println!("one more with 10,000 present: finding the change         ms {add_books}");
    println!("one more with 10,000 present: the kernel's part          ms {add}");
    println!("one less with 10,000 present: both                       ms {release}");
    Ok(())
}

/// One port on all addresses, of which connection tracking has to forget UDP flows: it remembers none.
async fn one_port() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    for (hybrid, by) in [(false, "the mapper"), (true, "the hybrid")] {
        for (spec, what) in [("8080:80", "TCP"), ("8080:80/udp", "UDP")] {
            let times = lab.host().run(one_port_on_host(spec, hybrid)).await?;
            println!("publish one {what} port on all addresses by {by}      ms {times}");
        }
    }
    Ok(())
}

async fn one_port_on_host(spec: &'static str, hybrid: bool) -> Result<Times, BoxError> {
    let loopback = if hybrid { Loopback::Proxy } else { Loopback::default() };
    let rules = RulesMapper::open(Policy { loopback, ..Policy::default() })?;
    let attached = rules.attach(format!("{NETWORK},2001:db8:17::/64").parse::<Network>()?).await?;
    let mapper = match hybrid {
        true => HybridMapper::new(ProxyMapper::new(), rules.clone()).into_boxed(),
        false => rules.clone().into_boxed(),
    };
    let to = Endpoint::dual(WEB, "2001:db8:17::2".parse()?)?;
    let mut times = Times::default();
    for _ in 0..COUNTS {
        let request = Publish::new(to).with(spec.parse::<PortSpec>()?);
        let begin = Instant::now();
        let lease = mapper.publish(request).await?;
        times.add(begin);
        lease.release().await?;
    }
    drop(mapper);
    attached.detach().await?;
    rules.close().await;
    Ok(times)
}

async fn iptables() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    lab.host().run(iptables_on_host()).await
}

async fn iptables_on_host() -> Result<(), BoxError> {
    let tools = match IptablesTools::find() {
        Ok(tools) => tools,
        Err(error) => {
            println!("not measured: {error}");
            return Ok(());
        }
    };
    let iptables = Iptables::open(tools)?;
    let policy = Policy { layout: Layout::Iptables, ..Policy::default() };
    let mut ledger = Ledger::new(policy);
    let attach = vec![NETWORK.parse::<Network>()?];
    let prepared = ledger.prepare(Edit { attach, ..Edit::default() })?;
    ledger.commit(prepared);
    let empty = Arc::new(Ruleset::empty(Layout::Iptables));
    let base = Arc::new(ledger.rules().clone());
    let prepared = ledger.prepare(publish(1, singles(1000)?))?;
    ledger.commit(prepared);
    let full = Arc::new(ledger.rules().clone());
    iptables.replace(Arc::clone(&empty), Arc::clone(&base)).await?;
    let (mut up, mut down) = (Times::default(), Times::default());
    for _ in 0..RUNS {
        let begin = Instant::now();
        iptables.replace(Arc::clone(&base), Arc::clone(&full)).await?;
        up.add(begin);
        let begin = Instant::now();
        iptables.replace(Arc::clone(&full), Arc::clone(&base)).await?;
        down.add(begin);
    }
    iptables.replace(base, empty).await?;
    println!("1,000 single ports in one publish ({})          ms {up}", iptables.variant());
    println!("and released                                             ms {down}");
    Ok(())
}

/// The plugin that container runtimes run once for each container.
const PLUGIN: &str = "/usr/lib/cni/portmap";

async fn cni() -> Result<(), BoxError> {
    if !std::path::Path::new(PLUGIN).exists() {
        println!("not measured: {PLUGIN} is not there (Debian: containernetworking-plugins)");
        return Ok(());
    }
    for count in [1_u16, 100, 1000] {
        let (mut up, mut down, mut ours) = (Times::default(), Times::default(), Times::default());
        for _ in 0..RUNS {
            let lab = Lab::new().await?;
            up.add(lab.host().run(async move { timed(|| plugin("ADD", count)) }).await?);
            down.add(lab.host().run(async move { timed(|| plugin("DEL", count)) }).await?);
            let begin = lab.host().run(ours_beside(count)).await?;
            ours.0.push(begin);
        }
        println!("{count:5} ports: add                                          ms {up}");
        println!("{count:5} ports: delete                                       ms {down}");
        println!("{count:5} ports: publish by our mapper, in the same namespace ms {ours}");
    }
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<(), BoxError>) -> Result<Instant, BoxError> {
    let begin = Instant::now();
    work()?;
    Ok(begin)
}

fn plugin(command: &str, count: u16) -> Result<(), BoxError> {
    let ports: Vec<_> = (0..count)
        .map(|n| {
            let port = 20_000 + n;
            format!(r#"{{"hostPort":{port},"containerPort":{port},"protocol":"tcp"}}"#)
        })
        .collect();
    let config = format!(
        r#"{{"cniVersion":"1.0.0","name":"bench","type":"portmap","capabilities":{{"portMappings":true}},
        "runtimeConfig":{{"portMappings":[{}]}},"prevResult":{{"cniVersion":"1.0.0",
        "interfaces":[{{"name":"eth0","sandbox":"/proc/self/ns/net"}}],
        "ips":[{{"address":"{WEB}/16","interface":0}}]}}}}"#,
        ports.join(",")
    );
    let mut child = Command::new(PLUGIN)
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "bench")
        .env("CNI_NETNS", "/proc/self/ns/net")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/usr/lib/cni")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    input.write_all(config.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stdout)).into()),
    }
}

async fn ours_beside(count: u16) -> Result<f64, BoxError> {
    let mapper = RulesMapper::open(Policy::default())?;
    let attached = mapper.attach(NETWORK.parse::<Network>()?).await?;
    let mut request = Publish::new(WEB);
    for n in 0..count {
        let spec: PortSpec = format!("{0}:{0}", 20_000 + n).parse()?;
        request = request.with(Mapping::from(spec));
    }
    let begin = Instant::now();
    let lease = mapper.publish(request).await?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    lease.release().await?;
    attached.detach().await?;
    mapper.close().await;
    Ok(took)
}

async fn connections() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    serve(&web).await?;
    let mapper = lab
        .host()
        .run(async {
            let mapper = RulesMapper::open_with(Policy::default(), HostSettings::Managed)?;
            let attached = mapper.attach(NETWORK.parse::<Network>()?).await?;
            Ok::<_, BoxError>((mapper, attached))
        })
        .await?;
    let publisher = mapper.0.clone();
    let host = lab.host().addr4();
    let one = Publish::new(WEB).with("8080:80".parse::<PortSpec>()?);
    let mut many = Publish::new(WEB);
    for n in 0..9_999 {
        many = many.with(format!("{0}:{0}", 20_000 + n).parse::<PortSpec>()?);
    }
    let _first = {
        let publisher = publisher.clone();
        lab.host().run(async move { publisher.publish(one).await }).await?
    };
    let (mut few, mut full, mut ratio) = (Times::default(), Times::default(), Times::default());
    count_connections(lab.client(), (host, 8080).into()).await?;
    for _ in 0..COUNTS {
        // Few, many, few: a machine that grows slower or faster meanwhile does so to both.
        let before = count_connections(lab.client(), (host, 8080).into()).await?;
        let (publisher, many) = (publisher.clone(), many.clone());
        let lease = lab.host().run(async move { publisher.publish(many).await }).await?;
        let after = count_connections(lab.client(), (host, 8080).into()).await?;
        lease.release().await?;
        let again = count_connections(lab.client(), (host, 8080).into()).await?;
        let around = f64::midpoint(before, again);
        few.0.push(around);
        full.0.push(after);
        ratio.0.push(after / around);
    }
    println!("with 1 port published                                   1/s {few}");
    println!("with 10,000 ports published                             1/s {full}");
    println!("10,000 against 1, pair by pair                            x {ratio}");
    Ok(())
}

/// Greets every client, on a thread of the node.
async fn serve(web: &Node) -> Result<(), BoxError> {
    web.run(async {
        let listener = TcpListener::bind("0.0.0.0:80")?;
        thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                // A client that has gone meanwhile is none of its business.
                let _ = client.write_all(b"!");
            }
        });
        io::Result::Ok(())
    })
    .await?;
    Ok(())
}

/// How many connections one client opens a second, one after the other. Each waits until it was accepted, or the backlog
/// would be measured, and is reset, so that it leaves nothing behind.
async fn count_connections(client: &Node, to: SocketAddr) -> Result<f64, BoxError> {
    let counted = client.run(async move {
        let begin = Instant::now();
        let mut count = 0_u32;
        while begin.elapsed() < COUNTED {
            let mut stream = TcpStream::connect(to)?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            stream.read_exact(&mut [0])?;
            count += 1;
        }
        io::Result::Ok(f64::from(count) / begin.elapsed().as_secs_f64())
    });
    Ok(counted.await?)
}
