//! The iptables backend, with both variants of the tools.

use std::{
    error::Error,
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{Duration, Instant},
};

use portmap_core::{Binding, ErrorKind, Protocol};
use portmap_netfilter::{Drift, Iptables, IptablesError, IptablesTools, IptablesVariant};
use portmap_rules::{Hairpin, Layout, Network, Policy, Ruleset, compile};

use tokio::time::timeout;

use crate::{
    published::binding,
    suite::{Need, Suite, TestResult},
    tool,
};

const NEEDS: &[Need] = &[Need::Tool("iptables-nft-restore"), Need::Tool("iptables-legacy-restore")];

pub(crate) fn add(suite: &mut Suite) {
    suite.test("what_is_put_in_force_is_listed_and_goes_again", NEEDS, async || {
        for_each_variant(there_and_back).await
    });
    suite.test("rules_of_others_and_the_user_chain_are_left_alone", NEEDS, async || {
        for_each_variant(others).await
    });
    suite.test("what_somebody_broke_is_repaired", NEEDS, async || for_each_variant(repaired).await);
    suite.test("what_a_killed_process_left_is_not_doubled", NEEDS, async || {
        for_each_variant(not_doubled).await
    });
    suite
        .test("what_a_killed_process_left_is_swept", NEEDS, async || for_each_variant(swept).await);
    suite.test(
        "what_a_killed_process_left_is_swept_though_the_first_change_fails",
        NEEDS,
        async || for_each_variant(swept_after_a_failure).await,
    );
    suite.test("a_thousand_mappings_are_one_publish", NEEDS, async || {
        for_each_variant(thousand).await
    });
    suite.test("what_others_change_by_iptables_is_noticed", NEEDS, noticed);
    suite.test("a_refused_line_is_named", &[], refused);
}

async fn for_each_variant(body: impl AsyncFn(Iptables, Host) -> TestResult) -> TestResult {
    for variant in [IptablesVariant::Nft, IptablesVariant::Legacy] {
        let host = Host { variant };
        let iptables = Iptables::open(IptablesTools::of(variant)?)?;
        assert_eq!(iptables.variant(), variant);
        body(iptables, host).await?;
        host.run("-F; $I -X; $I -t nat -F; $I -t nat -X; $I -t raw -F")?;
    }
    Ok(())
}

/// The tools of one variant, for looking and meddling.
#[derive(Clone, Copy)]
struct Host {
    variant: IptablesVariant,
}

impl Host {
    fn run(self, line: &str) -> Result<String, Box<dyn Error>> {
        let infix = if self.variant == IptablesVariant::Nft { "nft" } else { "legacy" };
        // Where /run can't be written, legacy iptables needs another lock.
        let lock = "test -w /run || export XTABLES_LOCKFILE=/dev/null;";
        tool::sh(&format!("{lock} I='iptables-{infix}'; $I {line}"))
    }

    fn list(self) -> Result<String, Box<dyn Error>> {
        self.run("-S; $I -t nat -S; $I -t raw -S")
    }
}

fn rules(bindings: &[Binding]) -> Result<Arc<Ruleset>, Box<dyn Error>> {
    let networks: Vec<Network> =
        vec!["docker0=172.17.0.0/16".parse()?, "bridge1=192.0.2.0/24,2001:db8::/64".parse()?];
    let policy =
        Policy { layout: Layout::Iptables, prefix: "DOCKER".parse()?, ..Policy::default() };
    Ok(Arc::new(compile(&networks, bindings, &policy)?))
}

fn nothing() -> Arc<Ruleset> {
    Arc::new(Ruleset::empty(Layout::Iptables))
}

fn bindings() -> Result<Vec<Binding>, Box<dyn Error>> {
    let both = "192.0.2.2,2001:db8::2";
    Ok(vec![
        binding(Protocol::Tcp, "*", "8080", both, "80")?,
        binding(Protocol::Udp, "*", "5353", "192.0.2.3", "53")?,
        binding(Protocol::Tcp, "127.0.0.1", "8081", "192.0.2.2", "81")?,
        binding(Protocol::Tcp, "*", "30000", both, "20000-29999")?,
        binding(Protocol::Sctp, "*", "9999", both, "9999")?,
    ])
}

async fn there_and_back(iptables: Iptables, host: Host) -> TestResult {
    let (base, bindings) = (rules(&[])?, bindings()?);
    iptables.replace(nothing(), Arc::clone(&base)).await?;
    assert_eq!(iptables.compare(Arc::clone(&base)).await?, []);
    let before = host.list()?;
    let mut current = Arc::clone(&base);
    for count in 1..=bindings.len() {
        let next = rules(&bindings[..count])?;
        iptables.replace(current, Arc::clone(&next)).await?;
        assert_eq!(iptables.compare(Arc::clone(&next)).await?, [], "{count} bindings");
        current = next;
    }
    let listing = host.list()?;
    // Again, and nothing differs.
    assert_eq!(iptables.reconcile(Arc::clone(&current)).await?, []);
    iptables.replace(Arc::clone(&current), Arc::clone(&current)).await?;
    assert_eq!(host.list()?, listing);
    iptables.replace(current, Arc::clone(&base)).await?;
    assert_eq!(host.list()?, before);
    iptables.replace(base, nothing()).await?;
    let left = host.list()?;
    let left: Vec<&str> = left.lines().filter(|line| !line.starts_with("-P")).collect();
    assert_eq!(left, ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN"]);
    Ok(())
}

async fn others(iptables: Iptables, host: Host) -> TestResult {
    host.run("-P FORWARD DROP; $I -N DOCKER-USER; $I -A DOCKER-USER -s 10.9.9.9 -j DROP")?;
    host.run("-A FORWARD -s 10.0.0.0/8 -j DROP; $I -t nat -A POSTROUTING -o eth9 -j MASQUERADE")?;
    host.run("-N FOREIGN; $I -A FOREIGN -j ACCEPT")?;
    let before = host.list()?;
    let full = rules(&bindings()?)?;
    iptables.replace(nothing(), Arc::clone(&full)).await?;
    host.run("-A INPUT -i eth9 -j DROP")?;
    iptables.replace(full, rules(&[])?).await?;
    let during = host.list()?;
    let mut place = 0;
    for line in before.lines() {
        let found = during.lines().skip(place).position(|other| other == line);
        place += found.ok_or_else(|| format!("{line} is not in\n{during}"))?;
    }
    iptables.replace(rules(&[])?, nothing()).await?;
    host.run("-D INPUT -i eth9 -j DROP")?;
    assert_eq!(host.list()?, before);
    host.run("-P FORWARD ACCEPT")?;
    Ok(())
}

async fn repaired(iptables: Iptables, host: Host) -> TestResult {
    let (some, all) = (rules(&bindings()?[..2])?, rules(&bindings()?)?);
    iptables.replace(nothing(), Arc::clone(&some)).await?;
    let whole = host.list()?;
    for (damage, found) in [
        ("-F DOCKER", vec!["chain DOCKER in table ipv4 filter was changed"]),
        ("-t nat -F DOCKER", vec!["chain DOCKER in table ipv4 nat was changed"]),
        ("-D FORWARD -j DOCKER-USER", vec!["chain FORWARD in table ipv4 filter was changed"]),
        ("-I FORWARD -s 10.1.1.1 -j DROP", vec!["chain FORWARD in table ipv4 filter was changed"]),
        (
            "-D FORWARD -j DOCKER-USER; $I -F DOCKER-USER; $I -X DOCKER-USER",
            vec![
                "chain DOCKER-USER in table ipv4 filter is missing",
                "chain FORWARD in table ipv4 filter was changed",
            ],
        ),
    ] {
        host.run(damage)?;
        let differences = iptables.compare(Arc::clone(&some)).await?;
        let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(differences, found, "{damage}");
        assert_eq!(iptables.reconcile(Arc::clone(&some)).await?.len(), found.len());
        assert_eq!(iptables.compare(Arc::clone(&some)).await?, []);
        let _ = host.run("-D FORWARD -s 10.1.1.1 -j DROP 2>/dev/null");
        assert_eq!(host.list()?, whole, "{damage}");
    }
    // A release goes through whatever is missing.
    iptables.replace(Arc::clone(&some), Arc::clone(&all)).await?;
    host.run("-F; $I -X; $I -t nat -F; $I -t nat -X")?;
    iptables.replace(all, Arc::clone(&some)).await?;
    iptables.reconcile(Arc::clone(&some)).await?;
    assert_eq!(host.list()?, whole);
    host.run("-t nat -F POSTROUTING")?;
    iptables.replace(some, nothing()).await?;
    let left = host.list()?;
    let left: Vec<&str> = left.lines().filter(|line| !line.starts_with("-P")).collect();
    assert_eq!(left, ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN"]);
    Ok(())
}

async fn not_doubled(iptables: Iptables, host: Host) -> TestResult {
    let all = rules(&bindings()?)?;
    iptables.replace(nothing(), Arc::clone(&all)).await?;
    let whole = host.list()?;
    iptables.replace(nothing(), Arc::clone(&all)).await?;
    assert_eq!(host.list()?, whole);
    host.run("-I FORWARD -j DOCKER-FORWARD; $I -A FORWARD -j DOCKER-USER")?;
    iptables.replace(nothing(), all).await?;
    assert_eq!(host.list()?, whole);
    Ok(())
}

/// The one that was killed had other networks, and IPv6.
async fn swept(iptables: Iptables, host: Host) -> TestResult {
    for hairpin in [Hairpin::Masquerade, Hairpin::Bridge] {
        let policy = Policy { layout: Layout::Iptables, hairpin, ..Policy::default() };
        let policy = Policy { prefix: "DOCKER".parse()?, ..policy };
        let networks = ["docker0=172.17.0.0/16,trusted=eth1", "bridge1=192.0.2.0/24,2001:db8::/64"];
        let networks = [networks[0].parse()?, networks[1].parse()?];
        let dead = Arc::new(compile(&networks, &bindings()?, &policy)?);
        let new = Arc::new(compile(&["br9=10.9.0.0/24".parse()?], &[], &policy)?);
        host.run("-t nat -A POSTROUTING -s 10.8.0.0/24 ! -o br8 -j MASQUERADE")?;

        iptables.replace(nothing(), dead).await?;
        iptables.replace(nothing(), Arc::clone(&new)).await?;
        assert_eq!(iptables.compare(Arc::clone(&new)).await?, []);
        iptables.replace(new, nothing()).await?;
        let six = "ip6${I#ip} -S; ip6${I#ip} -t nat -S; ip6${I#ip} -t raw -S";
        let left = host.run(&format!("-S; $I -t nat -S; $I -t raw -S; {six}"))?;
        let left: Vec<&str> = left.lines().filter(|line| !line.starts_with("-P")).collect();
        let person = ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN"];
        let other = ["-A POSTROUTING -s 10.8.0.0/24 ! -o br8 -j MASQUERADE"];
        assert_eq!(left, [&person[..], &other, &person].concat());
        host.run("-t nat -F; ip6${I#ip} -F; ip6${I#ip} -X")?;
    }
    Ok(())
}

/// The first change of the next one is refused, after the chains of the killed one were rewritten.
async fn swept_after_a_failure(iptables: Iptables, host: Host) -> TestResult {
    let infix = if host.variant == IptablesVariant::Nft { "nft" } else { "legacy" };
    let directory = std::env::temp_dir().join(format!("portmap-fails-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    for stem in ["iptables", "ip6tables"] {
        let tool = format!("PATH=$PATH:/usr/sbin:/sbin; exec {stem}-{infix}");
        let restore = format!(
            "#!/bin/sh\ncase $1 in --version) {tool}-restore \"$@\";; esac\ninput=$(cat)\n\
             case $input in *dead:beef*) echo refused >&2; exit 2;; esac\n\
             printf '%s\\n' \"$input\" | ({tool}-restore \"$@\")\n"
        );
        let save = format!("#!/bin/sh\n{tool}-save \"$@\"\n");
        for (name, text) in [("restore", restore), ("save", save)] {
            let file = directory.join(format!("{stem}-{name}"));
            fs::write(&file, text)?;
            fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
        }
    }
    let failing = Iptables::open(IptablesTools::within(&directory)?)?;
    let dead = rules(&bindings()?)?;
    let network = "br9=10.9.0.0/24,2001:db8:dead:beef::/64".parse()?;
    let policy =
        Policy { layout: Layout::Iptables, prefix: "DOCKER".parse()?, ..Policy::default() };
    iptables.replace(nothing(), dead).await?;
    let new = Arc::new(compile(&[network], &[], &policy)?);
    let error = failing.replace(nothing(), new).await.expect_err("IPv6 is refused");
    assert!(error.to_string().contains("refused"), "{error}");
    fs::remove_dir_all(&directory)?;
    let six = "ip6${I#ip} -S; ip6${I#ip} -t nat -S; ip6${I#ip} -t raw -S";
    let left = host.run(&format!("-S; $I -t nat -S; $I -t raw -S; {six}"))?;
    let left: Vec<&str> = left.lines().filter(|line| !line.starts_with("-P")).collect();
    let person = ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN"];
    assert_eq!(left, [person, person].concat());
    host.run("-F; ip6${I#ip} -F; ip6${I#ip} -X")?;
    Ok(())
}

/// 1,000 mappings: more than a commit takes in a user namespace.
async fn thousand(iptables: Iptables, _: Host) -> TestResult {
    let bindings = (20_000..21_000u16)
        .map(|port| binding(Protocol::Tcp, "*", &port.to_string(), "192.0.2.2", "80"))
        .collect::<Result<Vec<_>, _>>()?;
    let (base, all) = (rules(&[])?, rules(&bindings)?);
    iptables.replace(nothing(), Arc::clone(&base)).await?;
    let start = Instant::now();
    iptables.replace(Arc::clone(&base), Arc::clone(&all)).await?;
    eprintln!("1,000 mappings, {}: {:?}", iptables.variant(), start.elapsed());
    assert_eq!(iptables.compare(Arc::clone(&all)).await?, []);
    iptables.replace(all, base).await?;
    Ok(())
}

async fn noticed() -> TestResult {
    let iptables = Iptables::open(IptablesTools::of(IptablesVariant::Nft)?)?;
    let mut watch = iptables.watch().await?;
    let (base, all) = (rules(&[])?, rules(&bindings()?)?);
    iptables.replace(nothing(), Arc::clone(&base)).await?;
    iptables.replace(base, Arc::clone(&all)).await?;
    timeout(Duration::from_millis(100), watch.next()).await.expect_err("it was our own");
    tool::sh("iptables-nft -F FORWARD")?;
    let drift = timeout(Duration::from_secs(1), watch.next()).await??;
    let Drift::Changed { process, .. } = drift else { panic!("{drift:?}") };
    assert_eq!(process.as_deref(), Some("iptables-nft"));
    assert_eq!(iptables.reconcile(all).await?.len(), 1);
    Ok(())
}

async fn refused() -> TestResult {
    let missing = IptablesTools::within("/nonexistent".as_ref()).expect_err("it is refused");
    assert_eq!(missing.kind(), ErrorKind::Unsupported);
    assert_eq!(missing.to_string(), "/nonexistent/iptables-restore could not be run");

    let directory = std::env::temp_dir().join(format!("portmap-fake-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    for stem in ["iptables", "ip6tables"] {
        let refuse = "#!/bin/sh\ncase $1 in --version) echo 'v1.8.9 (legacy)';; *)\n\
                      cat >/dev/null; echo 'unknown option' >&2\n\
                      echo 'Error occurred at line: 2' >&2; exit 2;; esac\n";
        for (name, text) in [("restore", refuse), ("save", "#!/bin/sh\n")] {
            let file = directory.join(format!("{stem}-{name}"));
            fs::write(&file, text)?;
            fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
        }
    }
    let iptables = Iptables::open(IptablesTools::within(&directory)?)?;
    let error = iptables.replace(nothing(), rules(&bindings()?)?).await.expect_err("it is refused");
    fs::remove_dir_all(&directory)?;
    let IptablesError::Refused { line, said, code, .. } = &error else { panic!("{error:?}") };
    assert_eq!((said.as_str(), *code), ("unknown option", Some(2)));
    assert!(line.as_deref().is_some_and(|line| line.contains("PREROUTING")), "{line:?}");
    Ok(())
}
