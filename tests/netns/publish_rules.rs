//! The tool with NAT in the kernel, as a person runs it: what it does to a host, and what it leaves.

use std::{
    net::{IpAddr, SocketAddr},
    os::unix::process::ExitStatusExt,
    time::Duration,
};

use nix::sys::signal::Signal;
use portmap::BoxError;
use portmap_testkit::{CallError, Child, Lab, Need, Node, Suite, Webapp};
use tokio::time::sleep;

use crate::{
    process::{links, listeners, signal, start},
    support::{dual, network_of, tool},
};

pub(crate) fn tests(suite: &mut Suite) {
    let nftables = [Need::Netns, Need::Tool("nft")];
    let iptables = [Need::Netns, Need::Tool("iptables"), Need::Tool("nft")];
    for (backend, needs) in [("nftables", &nftables[..]), ("iptables", &iptables[..])] {
        let mut test = |what: &str, body: fn(&'static str) -> Body| {
            suite.test(&format!("publish_by_{backend}_{what}"), needs, async move || {
                body(backend).await
            });
        };
        test("serves_a_webapp_and_puts_everything_back", |it| Box::pin(webapp(it)));
        test("serves_containers_that_were_named", |it| Box::pin(named(it)));
        test("starts_again_after_it_was_killed", |it| Box::pin(killed(it)));
        test("leaves_nothing_when_it_is_ended_early", |it| Box::pin(early(it)));
        test("publishes_all_containers_or_none", |it| Box::pin(all_or_nothing(it)));
        test("has_its_prefix_to_itself", |it| Box::pin(busy(it)));
        test("says_in_one_line_that_privilege_is_missing", |it| Box::pin(unprivileged(it)));
    }
    let bridge = [Need::Netns, Need::Tool("bridge"), Need::Tool("iptables")];
    suite.test("publish_lets_its_webapp_call_itself_over_the_bridge", &bridge, hairpin);
    suite.test("publish_dry_runs_without_privilege", &nftables, dry_run);
}

/// A signal comes before, while and after things are set up.
async fn early(backend: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = quiet(host).await?;
    let path = tool()?.to_string_lossy().into_owned();
    for mode in ["rules", "hybrid"] {
        for after in [0, 10, 30, 80, 200, 500].map(Duration::from_millis) {
            let args = ["8080:80", "--mode", mode, "--backend", backend];
            let mut tool = host.command(&path, args).await?;
            sleep(after).await;
            signal(&tool, Signal::SIGTERM)?;
            let ended = tool.wait().await?;
            // It may be so early that nobody listens to signals yet.
            let is_early = ended.signal() == Some(Signal::SIGTERM as i32);
            assert!(ended.success() || is_early, "{mode}, {after:?}: {}", tool.transcript());
            assert_eq!(look(host).await?, before, "{mode}, {after:?}");
        }
    }
    Ok(())
}

type Body = std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Settings that the tool may switch on.
const SETTINGS: [&str; 4] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
];

/// All of a host that the tool changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host {
    links: Vec<String>,
    rules: Vec<String>,
    settings: Vec<String>,
    listeners: usize,
}

/// A host whose settings are off.
pub(crate) async fn quiet(host: &Node) -> Result<Host, BoxError> {
    for name in SETTINGS {
        // Where br_netfilter isn't loaded there is nothing to switch off.
        let _ = host.sysctl(name, "0").await;
    }
    look(host).await
}

pub(crate) async fn look(host: &Node) -> Result<Host, BoxError> {
    let mut settings = Vec::new();
    for name in SETTINGS {
        settings.push(host.read_sysctl(name).await.unwrap_or_default());
    }
    let (links, listeners) = (links(host).await?, listeners(host).await?);
    Ok(Host { links, rules: rules(host).await?, settings, listeners })
}

/// Every rule and set of whoever, as nft lists them: iptables' empty tables aside, and the chain that is a person's.
async fn rules(host: &Node) -> Result<Vec<String>, BoxError> {
    let text = host.exec("nft", ["--stateless", "list", "ruleset"]).await?.stdout;
    let mut rules = Vec::new();
    let mut of_person = false;
    for line in text.lines().map(str::trim) {
        match line {
            _ if line.starts_with("chain ") => of_person = line.contains("-USER "),
            "" | "}" => {}
            _ if of_person || line.starts_with("table ip") || line.starts_with("type ") => {}
            _ => rules.push(line.to_owned()),
        }
    }
    Ok(rules)
}

async fn start_by(host: &Node, backend: &str, args: &[&str]) -> Result<Child, BoxError> {
    start(host, &[&["--mode", "rules", "--backend", backend], args].concat()).await
}

pub(crate) async fn end(tool: &mut Child, by: Signal) -> Result<(), BoxError> {
    signal(tool, by)?;
    assert!(tool.wait().await?.success(), "{}", tool.transcript());
    Ok(())
}

/// The host's addresses, each with the outside client's of its family.
pub(crate) fn outside(lab: &Lab) -> [(IpAddr, IpAddr); 2] {
    let (host, client) = (lab.host(), lab.client());
    [(host.addr4().into(), client.addr4().into()), (host.addr6().into(), client.addr6().into())]
}

async fn webapp(backend: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = quiet(host).await?;
    for by in [Signal::SIGINT, Signal::SIGTERM] {
        let mut tool = start_by(host, backend, &["8080:80"]).await?;
        let said = tool.transcript();
        for line in ["webapp in a network namespace of its own, ", "tcp       *:8080"] {
            assert!(said.contains(line), "{said}");
        }
        assert!(said.contains(&format!("rules PORTMAP of {backend}:")), "{said}");
        for (host, client) in outside(&lab) {
            let to = SocketAddr::new(host, 8080);
            let page = lab.client().get(to).await?;
            assert_eq!(page.remote_ip, client, "seen as itself");
            let seen = SocketAddr::new(client, 1).to_string();
            tool.read_until(&format!("to {to}, seen as {}", seen.trim_end_matches('1'))).await?;
            tool.read_until("s by NAT\n").await?;
        }
        let gateway: IpAddr = [172, 31, 254, 1].into();
        assert_eq!(host.get("127.0.0.1:8080".parse()?).await?.remote_ip, gateway);
        tool.read_until("to 127.0.0.1:8080, seen as 172.31.254.1:").await?;
        assert!(matches!(host.get("[::1]:8080".parse()?).await, Err(CallError::Refused)));
        assert_eq!(host.read_sysctl("net/ipv4/conf/portmap0/route_localnet").await?, "1");
        assert_ne!(look(host).await?, before);

        end(&mut tool, by).await?;
        assert_eq!(look(host).await?, before, "after {by}: {}", tool.transcript());
    }
    Ok(())
}

async fn named(backend: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let (one, two) = (docker0.container("one").await?, docker0.container("two").await?);
    let _webapps = [Webapp::start(&one, 80).await?, Webapp::start(&two, 80).await?];
    let before = quiet(host).await?;
    let network = network_of(&docker0)?.to_string();
    let first = format!("8080:80@{}", dual(&one));
    let second = two.addr4().to_string();
    let args = ["--network", &network, &first, "8081:80", "--to", &second];
    let mut tool = start_by(host, backend, &args).await?;
    let said = format!(
        "\
container at {one}
container at {two}
NAT in the kernel by rules PORTMAP of {backend}: the container sees its clients' own addresses
forwarding and what else NAT needs of this host is on, and put back in the end
connections are listed from connection tracking, looked at once a second: what it forgets sooner is not seen
their bytes are not counted: net.netfilter.nf_conntrack_acct=1 would
protocol  host address  endpoint
tcp       *:8080        {v4}:80, [{v6}]:80
tcp       0.0.0.0:8081  {second}:80
Ctrl-C ends it.
",
        one = dual(&one),
        two = second,
        v4 = one.addr4(),
        v6 = one.addr6(),
    );
    assert_eq!(tool.transcript(), said);
    for (host, client) in outside(&lab) {
        let page = lab.client().get(SocketAddr::new(host, 8080)).await?;
        assert_eq!((page.remote_ip, page.hostname.as_str()), (client, "one"));
    }
    let page = lab.client().get((host.addr4(), 8081).into()).await?;
    assert_eq!(page.hostname, "two");
    end(&mut tool, Signal::SIGINT).await?;
    assert_eq!(look(host).await?, before);
    assert_eq!(host.read_sysctl("net/ipv4/conf/docker0/route_localnet").await?, "0");
    Ok(())
}

async fn killed(backend: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = quiet(host).await?;
    let mut tool = start_by(host, backend, &["8080:80", "8090:90"]).await?;
    signal(&tool, Signal::SIGKILL)?;
    tool.wait().await?;

    let mut again = start_by(host, backend, &["8080:80"]).await?;
    let client = lab.client();
    let page = client.get((host.addr4(), 8080).into()).await?;
    assert_eq!(page.remote_ip, client.addr4());
    let gone = client.get((host.addr4(), 8090).into()).await;
    assert!(matches!(gone, Err(CallError::Refused)), "{gone:?}");
    signal(&again, Signal::SIGKILL)?;
    again.wait().await?;

    // And with a network that has nothing in common with the first.
    let (docker0, network) = (lab.docker0().await?, "docker0=172.17.0.0/16");
    let web = docker0.container("web").await?;
    let _webapp = Webapp::start(&web, 80).await?;
    let spec = format!("8080:80@{}", web.addr4());
    let mut third = start_by(host, backend, &["--network", network, &spec]).await?;
    let page = client.get((host.addr4(), 8080).into()).await?;
    assert_eq!((page.remote_ip, page.hostname.as_str()), (client.addr4().into(), "web"));
    end(&mut third, Signal::SIGINT).await?;
    drop((web, docker0));
    // Settings that one who was killed has left on look like anybody's.
    let after = look(host).await?;
    assert_eq!((after.rules, after.listeners), (before.rules, before.listeners));
    Ok(())
}

async fn all_or_nothing(backend: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let (one, two) = (docker0.container("one").await?, docker0.container("two").await?);
    let mut holder = start(host, &["9000:80", "--to", "192.0.2.2"]).await?;
    let before = quiet(host).await?;
    let network = network_of(&docker0)?.to_string();
    let first = format!("8080:80@{}", dual(&one));
    let second = format!("9000:80@{}", dual(&two));
    let args = ["--mode", "rules", "--backend", backend, "--network", &network, &first, &second];
    let ended = host.exec(&tool()?.to_string_lossy(), args).await?;
    let pid = holder.pid().ok_or("it has ended")?;
    let taken = format!("publish: [::]:9000/tcp is in use by publish (pid {pid})\n");
    assert_eq!((ended.status.code(), ended.stderr), (Some(1), taken));
    assert_eq!(look(host).await?, before);
    end(&mut holder, Signal::SIGINT).await
}

async fn busy(backend: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = quiet(host).await?;
    let mut first = start_by(host, backend, &["8080:80"]).await?;
    let one = look(host).await?;
    let args = ["--mode", "rules", "--backend", backend, "8081:80"];
    let ended = host.exec(&tool()?.to_string_lossy(), args).await?;
    let said = format!(
        "publish: the rules have another owner: the rules of PORTMAP belong to publish (pid {}) in \
         this network namespace",
        first.pid().ok_or("it has ended")?
    );
    let hint = if backend == "nftables" { "; choose another --prefix\n" } else { "\n" };
    assert_eq!((ended.status.code(), ended.stderr), (Some(1), format!("{said}{hint}")));
    assert_eq!(look(host).await?, one);
    if backend == "iptables" {
        end(&mut first, Signal::SIGINT).await?;
        assert_eq!(look(host).await?, before);
        return Ok(());
    }

    let mut second = start_by(host, backend, &["8081:80", "--prefix", "OTHER"]).await?;
    for port in [8080, 8081] {
        let page = lab.client().get((host.addr4(), port).into()).await?;
        assert_eq!(page.remote_ip, lab.client().addr4(), "{port}");
    }
    // The last one to come is the first to go: each puts back what it switched on itself.
    end(&mut second, Signal::SIGINT).await?;
    assert_eq!(look(host).await?, one);
    end(&mut first, Signal::SIGINT).await?;
    assert_eq!(look(host).await?, before);
    Ok(())
}

/// Runs a program without any capability.
pub(crate) const WITHOUT: [&str; 3] =
    ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];

async fn unprivileged(backend: &str) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = quiet(host).await?;
    let tool = tool()?.to_string_lossy().into_owned();
    let args = [tool.as_str(), "--mode", "rules", "--backend", backend, "8080:80"];
    let ended = host.exec("setpriv", WITHOUT.into_iter().chain(args)).await?;
    let said = "publish: NAT in the kernel needs CAP_NET_ADMIN\n";
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(1), said));
    assert_eq!(look(host).await?, before);
    Ok(())
}

async fn hairpin() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    // Whether bridges show netfilter their packets, where the kernel has that.
    let seen = |on: u8| {
        let each = "for all in /proc/sys/net/bridge/bridge-nf-call-ip*tables";
        format!("{each}; do [ ! -e $all ] || echo {on} > $all; done")
    };
    let has_it = std::path::Path::new("/proc/sys/net/bridge").exists();
    let cases = [("bridge", 0, true), ("masquerade", 0, false), ("masquerade", 1, has_it)];
    for (hairpin, on, flag) in cases {
        let set = host.exec("sh", ["-c", &seen(on)]).await?;
        assert!(set.status.success(), "{}", set.stderr);
        let wanted = if flag { "hairpin on" } else { "hairpin off" };
        let mut tool = start_by(host, "iptables", &["8080:80", "--hairpin", hairpin]).await?;
        let ports = host.exec("bridge", ["-d", "link", "show"]).await?.stdout;
        let port = ports.split_once("master portmap0").ok_or_else(|| ports.clone())?.1;
        assert!(port.contains(wanted), "{hairpin}: {ports}");
        end(&mut tool, Signal::SIGINT).await?;
    }
    Ok(())
}

async fn dry_run() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let before = quiet(host).await?;
    let tool = tool()?.to_string_lossy().into_owned();
    for mode in ["proxy", "rules"] {
        let args = [tool.as_str(), "--dry-run", "--mode", mode, "8080:80"];
        let ended = host.exec("setpriv", WITHOUT.into_iter().chain(args)).await?;
        assert!(ended.status.success(), "{}", ended.stderr);
        assert!(ended.stdout.contains("8080"), "{}", ended.stdout);
    }
    assert_eq!(look(host).await?, before);
    Ok(())
}
