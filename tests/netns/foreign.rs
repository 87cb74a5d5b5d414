//! Beside somebody else's rules, Docker's above all: both are served, and neither touches the other's.

use std::{
    env, fs,
    net::IpAddr,
    process,
    time::{Duration, Instant},
};

use portmap::{
    BoxError, BoxPortMapper, Error, ErrorKind, Established, HybridMapper, Lease, PortMapper,
    ProxyMapper, RulesMapper,
    rules::{ForeignDrop, HostSettings, Layout, Loopback, Network, NetworkLease, Policy},
};
use portmap_testkit::{Bridge, BridgeSpec, Container, Lab, Need, Suite, Webapp};

use crate::support::{network_of, request};

const DOCKER: &str = include_str!("docker.rules");

/// A firewall of nftables that knows Docker's networks, and drops all else.
const FIREWALL: &str = "table inet firewall {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        oifname { \"docker0\", \"bridge1\" } accept
        iifname { \"docker0\", \"bridge1\" } accept
    }
}
";

pub(crate) fn tests(suite: &mut Suite) {
    let needs = [Need::Netns, Need::Tool("iptables"), Need::Tool("nft")];
    let legacy = [&needs[..], &[Need::Root, Need::Tool("iptables-legacy")]].concat();
    for layout in [Layout::Nftables, Layout::Iptables] {
        let name = |what: &str| format!("{layout}_beside_docker_{what}");
        suite.test(&name("with_forward_accept"), &needs, async move || {
            beside(layout, "ACCEPT", ForeignDrop::Leave, Served::ByRules).await
        });
        // Rules of ours in the same chain come first there.
        let dropped = match layout {
            Layout::Nftables => Served::ByProxy("chain FORWARD in table ipv4 filter"),
            Layout::Iptables => Served::ByRules,
        };
        suite.test(&name("with_forward_drop"), &needs, async move || {
            beside(layout, "DROP", ForeignDrop::Leave, dropped).await
        });
        suite.test(&name("with_forward_drop_opened"), &needs, async move || {
            beside(layout, "DROP", ForeignDrop::Open, Served::ByRules).await
        });
        let firewall = Served::ByProxy("chain forward in table inet firewall");
        for choice in [ForeignDrop::Leave, ForeignDrop::Open] {
            let name = name(&format!("and_a_firewall_that_drops_{choice}"));
            suite
                .test(&name, &needs, async move || beside_firewall(layout, choice, firewall).await);
        }
    }
    suite.test("a_way_through_legacy_iptables_is_opened_and_closed", &legacy, opened_legacy);
    for (iptables, needs) in [("iptables", &needs[..]), ("iptables-legacy", &legacy)] {
        suite.test(&format!("a_way_is_put_right_by_{iptables}"), needs, async move || {
            put_right(iptables).await
        });
    }
    suite.test("a_way_moves_with_what_is_retargeted", &needs, moved);
    suite.test("a_drop_that_came_later_is_found_by_a_retarget", &needs, found_later);
    suite.test("what_a_killed_process_opened_is_taken_over", &needs, taken_over);
    suite.test("a_drop_that_is_ignored_has_the_last_word", &needs, ignored);
}

/// Whom the hybrid has serve a client from outside; the rules alone refuse what is left to the proxy, and say why.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    ByRules,
    ByProxy(&'static str),
}

/// A host with Docker's networks and one of ours, and a webapp in a container of each. Port 8080 is Docker's, 9090 ours.
struct Scene {
    lab: Lab,
    ours: Container,
    br0: Bridge,
    _dockers: (Container, Bridge, Bridge),
    _webapps: [Webapp; 2],
}

struct Ours {
    rules: RulesMapper,
    network: NetworkLease,
    hybrid: BoxPortMapper,
}

impl Scene {
    async fn new(policy: &str) -> Result<Self, BoxError> {
        let scene = Self::without_docker().await?;
        scene.restore("iptables-restore", &DOCKER.replace("POLICY", policy)).await?;
        Ok(scene)
    }

    async fn without_docker() -> Result<Self, BoxError> {
        let lab = Lab::new().await?;
        let docker0 = lab.docker0().await?;
        let bridge1 = lab.bridge(BridgeSpec::new("bridge1", "192.0.2.1/24".parse()?)).await?;
        let br0 = lab.br0().await?;
        let theirs = bridge1.container("theirs").await?;
        let ours = br0.container("ours").await?;
        let _webapps = [Webapp::start(&theirs, 80).await?, Webapp::start(&ours, 80).await?];
        // As dockerd does.
        lab.host().sysctl("net/ipv4/ip_forward", "1").await?;
        Ok(Self { lab, ours, br0, _dockers: (theirs, docker0, bridge1), _webapps })
    }

    async fn restore(&self, tool: &str, rules: &str) -> Result<(), BoxError> {
        let name = format!("portmap-test-{}-{:p}", process::id(), self);
        let file = env::temp_dir().join(name);
        fs::write(&file, rules)?;
        let line = format!("{tool} < {}", file.display());
        let done = self.lab.host().exec("sh", ["-c", &line]).await;
        fs::remove_file(&file)?;
        let done = done?;
        done.status.success().then_some(()).ok_or_else(|| done.stderr.into())
    }

    /// Everything that is not ours: what we add to built-in chains names our bridge or our chains.
    async fn foreign(&self) -> Result<String, BoxError> {
        let host = self.lab.host();
        let mut listing = host.exec("iptables-save", [""; 0]).await?.stdout;
        listing.push_str(&host.exec("nft", ["list", "table", "inet", "firewall"]).await?.stdout);
        let ours = ["PORTMAP", "br0", "192.168.99.", "127.0.0.0/8 ! -i lo"];
        let is_ours = |line: &str| ours.iter().any(|word| line.contains(word));
        // Counters count, and tables that nobody uses appear by being asked for: only rules and chains are compared.
        let is_told =
            |line: &str| ["-A", ":DOCKER", "\t"].iter().any(|start| line.starts_with(start));
        let theirs = listing.lines().filter(|line| is_told(line) && !is_ours(line));
        Ok(theirs.collect::<Vec<_>>().join("\n"))
    }

    /// All that bears our name.
    async fn left(&self, tool: &str) -> Result<Vec<String>, BoxError> {
        let saved = self.lab.host().exec(tool, [""; 0]).await?.stdout;
        let ours = saved.lines().filter(|line| line.contains("PORTMAP-OPEN"));
        Ok(ours.map(str::to_owned).collect())
    }

    async fn ours(&self, layout: Layout, foreign_drop: ForeignDrop) -> Result<Ours, BoxError> {
        let network = network_of(&self.br0)?;
        let policy =
            Policy { layout, loopback: Loopback::Proxy, foreign_drop, ..Policy::default() };
        self.lab.host().run(async move { Ours::open(policy, network).await }).await
    }

    async fn iptables(&self, iptables: &str, args: &str) -> Result<(), BoxError> {
        let done = self.lab.host().exec(iptables, args.split(' ')).await?;
        done.status.success().then_some(()).ok_or_else(|| done.stderr.into())
    }

    async fn publish(&self, mapper: impl PortMapper) -> Result<Lease, BoxError> {
        let wanted = request(self.ours.addr4().into(), &["9090:80", "9090:80/udp"])?;
        let publish = async move { mapper.publish(wanted).await };
        Ok(self.lab.host().run(publish).await?)
    }

    /// Whom our container takes a client from outside for.
    async fn seen(&self) -> Result<[IpAddr; 2], BoxError> {
        let to = (self.lab.host().addr4(), 9090).into();
        let (tcp, udp) = (self.lab.client().get(to).await?, self.lab.client().ask_udp(to).await?);
        assert_eq!([&*tcp.hostname, &*udp.hostname], ["ours"; 2]);
        Ok([tcp.remote_ip, udp.remote_ip])
    }

    async fn docker_works(&self) -> Result<(), BoxError> {
        let (client, to) = (self.lab.client(), (self.lab.host().addr4(), 8080).into());
        let page = client.get(to).await?;
        assert_eq!((&*page.hostname, page.remote_ip), ("theirs", client.addr4().into()));
        Ok(())
    }

    /// Publishes, looks, and releases.
    async fn check(
        &self,
        layout: Layout,
        choice: ForeignDrop,
        served: Served,
    ) -> Result<(), BoxError> {
        let before = self.foreign().await?;
        assert!(!before.is_empty());
        let ours = self.ours(layout, choice).await?;
        let alone = self.publish(ours.rules.clone()).await;
        match served {
            Served::ByRules => self.lab.host().run(alone?.release()).await?,
            Served::ByProxy(chain) => {
                let refused = alone.expect_err("the chain is in the way");
                let error = refused.downcast_ref::<Error>().ok_or("it is an error of ours")?;
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                assert!(error.to_string().contains(chain), "{error}");
            }
        }
        assert_eq!(self.foreign().await?, before);

        let lease = self.publish(ours.hybrid.clone()).await?;
        let from = match served {
            Served::ByRules => self.lab.client().addr4(),
            Served::ByProxy(_) => self.br0.gateway4(),
        };
        assert_eq!(self.seen().await?, [IpAddr::from(from); 2]);
        self.docker_works().await?;
        assert_eq!(self.foreign().await?, before);
        self.lab.host().run(lease.release()).await?;
        assert_eq!(self.left("iptables-save").await?, [""; 0]);

        // Dropped this time, and with it the mapper.
        let lease = self.publish(ours.hybrid.clone()).await?;
        self.lab.host().run(ours.close(lease)).await;
        assert_eq!(self.foreign().await?, before);
        assert_eq!(self.left("iptables-save").await?, [""; 0]);
        self.docker_works().await?;
        Ok(())
    }
}

impl Ours {
    async fn open(policy: Policy, network: Network) -> Result<Self, BoxError> {
        let rules = RulesMapper::open_with(policy, HostSettings::Managed)?;
        let network = rules.attach(network).await?;
        let hybrid = HybridMapper::new(ProxyMapper::new(), rules.clone()).into_boxed();
        Ok(Self { rules, network, hybrid })
    }

    async fn close(self, lease: Lease) {
        let Self { rules, network, hybrid } = self;
        drop((lease, network, hybrid));
        rules.close().await;
    }
}

async fn beside(
    layout: Layout,
    policy: &str,
    choice: ForeignDrop,
    served: Served,
) -> Result<(), BoxError> {
    Scene::new(policy).await?.check(layout, choice, served).await
}

async fn beside_firewall(
    layout: Layout,
    choice: ForeignDrop,
    served: Served,
) -> Result<(), BoxError> {
    let scene = Scene::new("ACCEPT").await?;
    scene.restore("nft -f /dev/stdin", FIREWALL).await?;
    scene.check(layout, choice, served).await
}

async fn opened_legacy() -> Result<(), BoxError> {
    let scene = Scene::without_docker().await?;
    scene.restore("iptables-legacy-restore", &DOCKER.replace("POLICY", "DROP")).await?;
    let legacy = "iptables-legacy-save";
    for (choice, from) in [
        (ForeignDrop::Leave, scene.br0.gateway4()),
        (ForeignDrop::Open, scene.lab.client().addr4()),
    ] {
        let ours = scene.ours(Layout::Nftables, choice).await?;
        let lease = scene.publish(ours.hybrid.clone()).await?;
        assert_eq!(scene.seen().await?, [IpAddr::from(from); 2]);
        scene.docker_works().await?;
        assert_eq!(scene.left(legacy).await?.is_empty(), choice == ForeignDrop::Leave);
        scene.lab.host().run(ours.close(lease)).await;
        assert_eq!(scene.left(legacy).await?, [""; 0]);
    }
    Ok(())
}

async fn taken_over() -> Result<(), BoxError> {
    let scene = Scene::new("DROP").await?;
    // As a process leaves it that is killed, before there was a Docker.
    let left = "*filter\n:PORTMAP-OPEN - [0:0]\n-A PORTMAP-OPEN -o br9 -m conntrack --ctstate DNAT -j ACCEPT\n\
                -I FORWARD -j PORTMAP-OPEN\nCOMMIT\n";
    scene.restore("iptables-restore --noflush", left).await?;
    let ours = scene.ours(Layout::Nftables, ForeignDrop::Open).await?;
    let lease = scene.publish(ours.hybrid.clone()).await?;
    assert_eq!(scene.seen().await?, [IpAddr::from(scene.lab.client().addr4()); 2]);
    let open = scene.left("iptables-save").await?;
    assert_eq!(
        open[1..],
        [
            "-A DOCKER-USER -j PORTMAP-OPEN",
            "-A PORTMAP-OPEN -o br0 -m conntrack --ctstate DNAT -j ACCEPT",
            "-A PORTMAP-OPEN -i br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        ]
    );
    scene.lab.host().run(lease.release()).await?;
    assert_eq!(scene.left("iptables-save").await?, [""; 0]);
    Ok(())
}

async fn ignored() -> Result<(), BoxError> {
    let scene = Scene::new("DROP").await?;
    let ours = scene.ours(Layout::Nftables, ForeignDrop::Ignore).await?;
    let lease = scene.publish(ours.rules.clone()).await?;
    assert!(scene.seen().await.is_err());
    // Where an administrator lets it pass, it does.
    let rules =
        "*filter\n-I DOCKER-USER -o br0 -j ACCEPT\n-I DOCKER-USER -i br0 -j ACCEPT\nCOMMIT\n";
    scene.restore("iptables-restore --noflush", rules).await?;
    assert_eq!(scene.seen().await?, [IpAddr::from(scene.lab.client().addr4()); 2]);
    scene.lab.host().run(lease.release()).await?;
    Ok(())
}

/// What others flush is back within moments, and where the way begins follows Docker, which goes and comes.
async fn put_right(iptables: &str) -> Result<(), BoxError> {
    let scene = Scene::without_docker().await?;
    let docker = DOCKER.replace("POLICY", "DROP");
    scene.restore(&format!("{iptables}-restore"), &docker).await?;
    let ours = scene.ours(Layout::Nftables, ForeignDrop::Open).await?;
    let lease = scene.publish(ours.hybrid.clone()).await?;
    let (by_docker, by_itself) = ("-A DOCKER-USER -j PORTMAP-OPEN", "-A FORWARD -j PORTMAP-OPEN");
    let is_back = async |jump: &str| -> Result<(), BoxError> {
        let accepts = [
            "-A PORTMAP-OPEN -o br0 -m conntrack --ctstate DNAT -j ACCEPT",
            "-A PORTMAP-OPEN -i br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ];
        let begin = Instant::now();
        loop {
            let found = scene.left(&format!("{iptables}-save")).await?;
            let rules = found.iter().filter(|line| line.starts_with("-A"));
            if rules.eq([&[jump], &accepts[..]].concat()) {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(8), "{found:?}");
        }
        assert_eq!(scene.seen().await?, [IpAddr::from(scene.lab.client().addr4()); 2]);
        Ok(())
    };
    is_back(by_docker).await?;
    scene.iptables(iptables, "-D DOCKER-USER -j PORTMAP-OPEN").await?;
    is_back(by_docker).await?;
    scene.iptables(iptables, "-F PORTMAP-OPEN").await?;
    is_back(by_docker).await?;
    // As a reload of ufw leaves it: all chains are empty, and the policy stays.
    scene.iptables(iptables, "-F").await?;
    is_back(by_itself).await?;
    scene.iptables(iptables, "-I FORWARD -j DOCKER-USER").await?;
    is_back(by_docker).await?;
    scene.lab.host().run(ours.close(lease)).await;
    assert_eq!(scene.left(&format!("{iptables}-save")).await?, [""; 0]);
    Ok(())
}

/// A second network of ours and a container there.
struct Second {
    _network: NetworkLease,
    _webapp: Webapp,
    container: Container,
    _bridge: Bridge,
}

async fn second(scene: &Scene, ours: &Ours) -> Result<Second, BoxError> {
    let bridge = scene.lab.bridge(BridgeSpec::new("br1", "10.99.0.1/24".parse()?)).await?;
    let container = bridge.container("second").await?;
    let _webapp = Webapp::start(&container, 80).await?;
    let (rules, network) = (ours.rules.clone(), network_of(&bridge)?);
    let _network = scene.lab.host().run(async move { rules.attach(network).await }).await?;
    Ok(Second { _network, _webapp, container, _bridge: bridge })
}

async fn moved() -> Result<(), BoxError> {
    let scene = Scene::new("DROP").await?;
    let ours = scene.ours(Layout::Nftables, ForeignDrop::Open).await?;
    let second = second(&scene, &ours).await?;
    let mut lease = scene.publish(ours.rules.clone()).await?;
    let opened = async || -> Result<Vec<String>, BoxError> {
        let open = scene.left("iptables-save").await?;
        let accepts = open.iter().filter_map(|line| line.strip_prefix("-A PORTMAP-OPEN "));
        Ok(accepts.map(|rule| rule.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect())
    };
    let to = (scene.lab.host().addr4(), 9090).into();
    for _ in 0..2 {
        assert_eq!(opened().await?, ["-o br0", "-i br0"]);
        lease.retarget(second.container.addr4(), Established::Keep).await?;
        assert_eq!(opened().await?, ["-o br1", "-i br1"]);
        let page = scene.lab.client().get(to).await?;
        assert_eq!(
            (&*page.hostname, page.remote_ip),
            ("second", scene.lab.client().addr4().into())
        );
        lease.retarget(scene.ours.addr4(), Established::Keep).await?;
        assert_eq!(scene.seen().await?, [IpAddr::from(scene.lab.client().addr4()); 2]);
    }
    // A retarget that fails leaves the way as it was.
    lease.retarget([10, 99, 0, 1], Established::Keep).await.expect_err("it is the gateway's");
    assert_eq!(opened().await?, ["-o br0", "-i br0"]);
    scene.lab.host().run(lease.release()).await?;
    assert_eq!(scene.left("iptables-save").await?, [""; 0]);
    Ok(())
}

async fn found_later() -> Result<(), BoxError> {
    let scene = Scene::new("ACCEPT").await?;
    for choice in [ForeignDrop::Open, ForeignDrop::Leave] {
        let ours = scene.ours(Layout::Nftables, choice).await?;
        let second = second(&scene, &ours).await?;
        let mut lease = scene.publish(ours.rules.clone()).await?;
        scene.iptables("iptables", "-P FORWARD DROP").await?;
        let retargeted = lease.retarget(second.container.addr4(), Established::Keep).await;
        if choice == ForeignDrop::Open {
            retargeted?;
            let page = scene.lab.client().get((scene.lab.host().addr4(), 9090).into()).await?;
            assert_eq!(page.hostname, "second");
        } else {
            let refused = retargeted.expect_err("the chain is in the way");
            assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
            assert!(
                refused.to_string().contains("chain FORWARD in table ipv4 filter"),
                "{refused}"
            );
        }
        scene.iptables("iptables", "-P FORWARD ACCEPT").await?;
        if choice == ForeignDrop::Leave {
            assert_eq!(scene.seen().await?, [IpAddr::from(scene.lab.client().addr4()); 2]);
        }
        drop(second);
        scene.lab.host().run(ours.close(lease)).await;
        assert_eq!(scene.left("iptables-save").await?, [""; 0]);
    }
    Ok(())
}
