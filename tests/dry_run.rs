//! What the tool prints of what it would do: the golden rules, line for line, without any privilege.
#![expect(clippy::unwrap_used, reason = "output that cannot be read ends the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// The networks of most golden files, as options.
const NETWORKS: [&str; 2] = ["--network=docker0=172.17.0.0/16", "--network=bridge1=192.0.2.0/24"];

/// The `publish` tool, which cargo builds beside the tests.
fn tool() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap();
    built.join("examples/publish")
}

fn run(args: &[&str]) -> Output {
    Command::new(tool()).args(args).output().unwrap()
}

/// What is printed, where all goes well.
fn printed(args: &[&str]) -> String {
    let output = run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn rules(args: &[&str]) -> String {
    printed(&[&["--mode=rules", "--dry-run"], args].concat())
}

/// Status and complaint, where it doesn't.
fn complaint(args: &[&str]) -> (Option<i32>, String) {
    let output = run(args);
    assert_eq!(output.stdout, b"", "{args:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("portmap-rules/tests/golden");
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn the_rules_are_the_golden_ones() {
    const WEB: &str = "8080:80@192.0.2.2";
    let second = |options: &'static str| [NETWORKS[0], options];
    let six = second("--network=bridge1=192.0.2.0/24,2001:db8:2::/64");
    let trusted = second("--network=bridge1=192.0.2.0/24,trusted=eth1");
    let icc_off = second("--network=bridge1=192.0.2.0/24,icc=off");
    let internal = second("--network=bridge1=192.0.2.0/24,internal");
    let unprotected = second("--network=bridge1=192.0.2.0/24,mode=nat-unprotected");
    let routed = second("--network=bridge1=192.0.2.0/24,gateway=192.0.2.1,mode=routed");
    let cases: [(&str, [&str; 2], &[&str]); 14] = [
        ("plain", NETWORKS, &["--hairpin=bridge", WEB]),
        ("with-proxy", NETWORKS, &["--hairpin=bridge", "--loopback=proxy", WEB]),
        ("hairpin-masquerade", NETWORKS, &["--hairpin=masquerade", "--loopback=nat", WEB]),
        ("networks-alone", NETWORKS, &["--hairpin=bridge"]),
        ("ipv6", six, &["--hairpin=bridge", "8080:80@192.0.2.2,2001:db8:2::2"]),
        ("range", NETWORKS, &["--hairpin=bridge", "30000-39999:30000-39999@192.0.2.2"]),
        ("shifted-range", NETWORKS, &["--hairpin=bridge", "8080-8083:80-83", "--to=192.0.2.2"]),
        ("host-address", NETWORKS, &["--hairpin=bridge", "198.51.100.1:8080:80@192.0.2.2"]),
        ("loopback-address", NETWORKS, &["--hairpin=bridge", "127.0.0.1:8080:80@192.0.2.2"]),
        ("trusted-interface", trusted, &["--hairpin=bridge", WEB]),
        ("icc-off", icc_off, &["--hairpin=bridge", WEB]),
        // No container of it can be published: its rules are there all the same.
        ("internal", internal, &["--hairpin=bridge"]),
        ("nat-unprotected", unprotected, &["--hairpin=bridge", WEB]),
        ("routed", routed, &["--hairpin=bridge", WEB]),
    ];
    for (name, networks, options) in cases {
        for backend in ["nftables", "iptables"] {
            let backend_option = format!("--backend={backend}");
            let args = [&networks[..], options, &[&backend_option]].concat();
            let extension = if backend == "nftables" { "nft" } else { "iptables" };
            let wanted = golden(&format!("{name}.{extension}"));
            assert!(rules(&args) == wanted, "{name} {backend}:\n{}", rules(&args));
        }
    }
}

#[test]
fn a_hairpin_policy_comes_with_the_rule_language() {
    let web = [&NETWORKS[..], &["8080:80@192.0.2.2"]].concat();
    assert_eq!(rules(&web), golden("hairpin-masquerade.nft"));
    let iptables = [&web[..], &["--backend=iptables"]].concat();
    assert_eq!(rules(&iptables), golden("plain.iptables"));
}

/// Filter and nat of a well-known engine without its userland proxy, and the guards of raw.
#[test]
fn with_an_engines_prefix_the_tables_are_the_engines() {
    let words = "--backend iptables --prefix DOCKER --network docker0=172.17.0.0/16 \
                 --network bridge1=192.0.2.0/24 8080:80@192.0.2.2 --loopback nat";
    let printed = rules(&words.split_whitespace().collect::<Vec<_>>());
    let seed = include_str!("engine/noproxy.iptables");
    assert_eq!(printed, seed);
}

#[test]
fn each_container_has_its_own_specs() {
    let args = ["8080:80@192.0.2.2", "8081:80", "--to=192.0.2.3", "53:53/udp@192.0.2.2"];
    let text = rules(&[&NETWORKS[..], &args, &["--backend=iptables"]].concat());
    for rule in [
        "-A PORTMAP -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.0.2.2:80\n",
        "-A PORTMAP -p tcp -m tcp --dport 8081 -j DNAT --to-destination 192.0.2.3:80\n",
        "-A PORTMAP -p udp -m udp --dport 53 -j DNAT --to-destination 192.0.2.2:53\n",
    ] {
        assert!(text.contains(rule), "{rule}{text}");
    }
}

#[test]
fn port_numbers_that_nobody_can_know_are_noted() {
    let args = ["--mode=rules", "--dry-run", "--backend=iptables"];
    let specs = ["80@192.0.2.2", "81@192.0.2.2", "8000-8010:82@192.0.2.2", "8000:83@192.0.2.2"];
    let output = run(&[&args, &NETWORKS[..], &specs].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--dport 8001 -j DNAT --to-destination 192.0.2.2:82\n"), "{text}");
    assert_eq!(text.matches("-j DNAT").count(), 4, "{text}");
    let notes = String::from_utf8(output.stderr).unwrap();
    let wanted = "\
publish: note: the ephemeral port for 80 of 192.0.2.2 will be another one
publish: note: the ephemeral port for 81 of 192.0.2.2 will be another one
publish: note: the lowest free port of 8000-8010 for 82 of 192.0.2.2 may be another one
";
    assert_eq!(notes, wanted);
}

#[test]
fn without_a_container_the_webapp_is_shown() {
    let output = run(&["--mode=rules", "--dry-run", "--backend=iptables", "8080:80"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--dport 8080 -j DNAT --to-destination 172.31.254.2:80\n"), "{text}");
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.starts_with("publish: note: the webapp is shown at 172.31.254.2"), "{note}");
}

#[test]
fn a_proxy_has_a_table_of_bindings() {
    let specs = ["8080:80", "127.0.0.1::80", "8000-8010:82", "1000-1003@192.0.2.3,2001:db8::3"];
    let text = printed(&[&["--dry-run", "--to=192.0.2.2"], &specs[..]].concat());
    let wanted = "\
protocol  host address          endpoint
tcp       *:8080                192.0.2.2:80
tcp       127.0.0.1:ephemeral   192.0.2.2:80
tcp       *:(one of 8000-8010)  192.0.2.2:82
tcp       *:(ephemeral, 4)      192.0.2.3:1000-1003, [2001:db8::3]:1000-1003
";
    assert_eq!(text, wanted);
}

#[test]
fn options_that_make_no_sense_together_are_refused() {
    let network = "--network=br0=10.0.0.0/24";
    let cases: [(&[&str], &str); 24] = [
        (
            &["--mode=proxy", "--backend=iptables", "80"],
            "error: --backend is for --mode hybrid and rules\n",
        ),
        (&["--loopback=nat", "80"], "error: --loopback is for --mode rules\n"),
        (&["--mode=proxy", "--prefix=A", "80"], "error: --prefix is for --mode hybrid and rules\n"),
        (&["--source=gateway", "--hairpin=bridge", "80"], "error: --hairpin is for --mode hybrid"),
        (&["--mode=proxy", network, "80"], "error: --network is for --mode hybrid and rules\n"),
        (&["--mode=rules", "--drain=3", "80"], "error: --drain is for --mode hybrid and proxy: "),
        (&["--to=10.0.0.2", "80@10.0.0.3"], "error: --to 10.0.0.2 is for a SPEC without @ADDR"),
        (&["--dry-run"], "error: nothing to print: a SPEC is missing\n"),
        (&["--dry-run", "--mode=rules"], "error: nothing to print: neither a SPEC nor a --network"),
        (&["--mode=rules", network], "required arguments were not provided"),
        (&["80@web"], "endpoint \"web\" is not an IP address; @docker:web?\n"),
        (&["80", "--to=web"], "endpoint \"web\" is not an IP address; --docker web?\n"),
        (
            &["80", "--to=[fd00::2]"],
            "endpoint \"[fd00::2]\" is not an IP address: without brackets here\n",
        ),
        (&["80", "--to=192.0.2"], "endpoint \"192.0.2\" is not an IP address\n"),
        (&["-p", "8080:80"], "error: no -p here, the SPEC alone: publish 8080:80\n"),
        (&["-p8080:80"], "error: no -p here, the SPEC alone: publish 8080:80\n"),
        (&["80", "--drain=0.5"], "\"0.5\" is not a number of whole seconds\n"),
        (&["80", "--drain=x"], "\"x\" is not a number of whole seconds\n"),
        (&["0:80"], "host port 0 is not between 1 and 65535; leave it out for a free one\n"),
        (&["::80"], "host address is empty; leave its colon out for every address"),
        (&["--mode=rules", "--network=b r=10.0.0.0/24", "80"], "interface name \"b r\" has ' '"),
        (&["--mode=rules", "--network=br=10.0.0.1/24", "80"], "10.0.0.0/24 is meant\n"),
        (
            &["--mode=rules", "--network=br=0.0.0.0/0", "80"],
            "subnet 0.0.0.0/0 is every address there is\n",
        ),
        (&["--mode=rules", "--prefix=INPUT", "80"], "prefix \"INPUT\" is a name that iptables"),
    ];
    for (args, message) in cases {
        let (status, said) = complaint(args);
        assert_eq!(status, Some(2), "{args:?}: {said}");
        assert!(said.contains(message), "{args:?}: {said}");
    }
}

#[test]
fn what_cannot_be_in_force_is_not_printed() {
    let network = "--network=br0=10.0.0.0/24";
    let closed = "--network=br2=10.0.2.0/24,internal";
    let cases: [(&[&str], &str); 17] = [
        (
            &["--mode=rules", "--dry-run", network, "80:80@10.0.1.2"],
            "container 10.0.1.2 lies in no network: add its --network BRIDGE=SUBNET",
        ),
        (
            &["--mode=rules", "80:80@10.0.1.2"],
            "container 10.0.1.2 lies in no network: add its --network BRIDGE=SUBNET",
        ),
        (
            &["--mode=rules", "--dry-run", network, "--network=br1=10.0.0.0/16"],
            "subnets 10.0.0.0/24 and 10.0.0.0/16 overlap",
        ),
        (
            &["--mode=rules", "--dry-run", network, "80:80@10.0.0.2", "80:81@10.0.0.3"],
            "tcp *:80 -> 10.0.0.2:80 and tcp *:80 -> 10.0.0.3:81 want the same host port",
        ),
        (
            &["--mode=rules", "--dry-run", network, "[::1]:80:80@10.0.0.2"],
            "NAT cannot translate between IPv4 and IPv6: tcp [::1]:80 -> 10.0.0.2:80",
        ),
        (
            &["--mode=proxy", "--dry-run", "80:80@10.0.0.2", "80:81@10.0.0.3"],
            "host port 80/tcp is asked for twice in one request",
        ),
        (&["--mode=proxy", "--dry-run", "80:80/sctp@10.0.0.2"], "the proxy does not serve sctp"),
        (
            &["--mode=proxy", "--dry-run", "--source=proxy-v1", "80:80/udp@10.0.0.2"],
            "version 1 of the PROXY protocol has no UDP; version 2 has",
        ),
        (
            &["--mode=rules", "--dry-run", network, "80:80@10.0.0.1"],
            "container address 10.0.0.1 is the gateway of br0",
        ),
        (
            &["--mode=hybrid", "--dry-run", network, "80:80@10.0.0.0"],
            "container address 10.0.0.0 is the network or broadcast address of 10.0.0.0/24",
        ),
        (
            &["--mode=hybrid", "--explain", network, "80:80@10.0.0.255"],
            "container address 10.0.0.255 is the network or broadcast address of 10.0.0.0/24",
        ),
        (&["80:80@fe80::1"], "fe80::1 does not say on which link the container is"),
        (
            &["--mode=proxy", "224.0.0.1:80:80@10.0.0.2"],
            "224.0.0.1 is no address to publish on: it is for many hosts",
        ),
        (
            &["--mode=proxy", "--dry-run", "255.255.255.255:80:80/udp@10.0.0.2"],
            "255.255.255.255 is no address to publish on: it is for many hosts",
        ),
        (
            &["--dry-run", "8080:8080@127.0.0.1"],
            "tcp *:8080 -> 127.0.0.1:8080 leads back to this host, where tcp *:8080 -> 127.0.0.1:8080 is published",
        ),
        (
            &["--mode=rules", "--dry-run", closed, "80:80@10.0.2.2"],
            "container 10.0.2.2 lies in an internal network, where NAT has no way in; --mode proxy has",
        ),
        (
            &["--mode=hybrid", "--explain", closed, "80:80@10.0.2.2"],
            "container 10.0.2.2 lies in an internal network, where NAT has no way in; --mode proxy has",
        ),
    ];
    for (args, message) in cases {
        assert_eq!(complaint(args), (Some(1), format!("publish: {message}\n")), "{args:?}");
    }
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    for (shell, begin) in [("bash", "_publish() {"), ("zsh", "#compdef publish"), ("fish", "#")] {
        let script = printed(&["completions", shell]);
        assert!(script.starts_with(begin), "{shell}: {script}");
        assert!(script.contains("doctor") && script.contains("netns"), "{shell}: {script}");
    }
    let page = printed(&["man"]);
    assert!(page.contains(".TH publish 1") && page.contains("SH \"EXAMPLES\""), "{page}");
    let status =
        "0 where all went well: what was published is released after Ctrl-C, SIGTERM or SIGHUP.";
    assert!(
        page.replace("\\-", "-").contains(&format!("SH \"EXIT STATUS\"\n.nf\n{status}")),
        "{page}"
    );
    assert!(printed(&["--help"]).contains(&format!("\nExit status: {status}")));
    for line in ["publish who 8080/tcp", "PUBLISH DOCTOR", "Exit status: 0 where somebody has"] {
        assert!(page.replace("\\-", "-").contains(line), "{line}: {page}");
    }
    // A hidden way in is nobody's to complete.
    assert!(!page.contains("__sockets") && !printed(&["--help"]).contains("__sockets"));
}

#[test]
fn targets_stand_behind_a_spec() {
    let cases: [(&[&str], &str); 6] = [
        (&["80@pid:x"], "\"x\" is not the number of a process\n"),
        (&["80@docker:"], "\"\" cannot be the name of a container\n"),
        (&["80@docker:a/b"], "\"a/b\" cannot be the name of a container\n"),
        (&["80@pod:web"], "endpoint \"pod:web\" is not an IP address\n"),
        (&["--docker=web", "80@192.0.2.2"], "error: --docker web is for a SPEC without @ADDR"),
        (&["--json", "--plain", "80"], "cannot be used with"),
    ];
    for (args, message) in cases {
        let (status, said) = complaint(args);
        assert_eq!(status, Some(2), "{args:?}: {said}");
        assert!(said.contains(message), "{args:?}: {said}");
    }
}

#[test]
fn what_cannot_be_written_is_an_error_and_no_panic() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let printing: [&[&str]; 7] = [
        &["--dry-run", "8080:80@192.0.2.2"],
        &["--explain", "8080:80@192.0.2.2"],
        &["who", "127.0.0.1:9/udp"],
        &["doctor"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
    ];
    for args in printing {
        let output = Command::new(tool()).args(args).stdout(full()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        let wanted = "publish: standard output cannot be written: ";
        assert!(said.contains(wanted) || args == ["--help"], "{args:?}: {said}");
    }
    // What goes to standard error does not decide anything.
    let complaining: [(&[&str], i32); 4] = [
        (&["--mode=rules", "--dry-run", "8080:80"], 0),
        (&["-vv", "--dry-run", "8080:80@192.0.2.2"], 0),
        (&["--mode=rules", "--dry-run", "80:80@10.0.1.2"], 1),
        (&["--nonsense"], 2),
    ];
    for (args, status) in complaining {
        let output = Command::new(tool()).args(args).stderr(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{args:?}");
    }
}

/// What failed is pasted behind `doctor`.
#[test]
fn doctor_takes_the_words_of_a_publish() {
    let words = "--mode rules --network br0=10.0.0.0/24 --docker web --drain 3 --prefix A -v --plain --source proxy-v2 \
                 127.0.0.1::80@192.0.2.2 127.0.0.1::81/udp@docker:web 127.0.0.1::82@pid:1";
    let output = run(&["doctor"].into_iter().chain(words.split_whitespace()).collect::<Vec<_>>());
    let text = String::from_utf8(output.stdout).unwrap();
    for spec in ["80/tcp", "81/udp", "82/tcp"] {
        assert!(text.contains(&format!("there is a free port for 127.0.0.1::{spec}\n")), "{text}");
    }
    let help = printed(&["doctor", "--help"]);
    assert!(!help.contains("--prefix") && help.contains("accepted, and not looked at"), "{help}");
    assert_eq!(complaint(&["doctor", "--nonsense"]).0, Some(2));
    assert_eq!(complaint(&["doctor", "80@web"]).0, Some(2));
}

/// `head` has read enough, say.
#[test]
fn a_reader_that_has_gone_is_told_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(tool()).arg("man").stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
}

/// One copy of the request, or one look at all others, for each of them would take minutes in this build.
#[test]
fn sixty_thousand_specs_are_read_in_a_moment() {
    let specs: Vec<_> = (1..=60_000).map(|port| format!("{port}:80")).collect();
    let specs = specs.iter().map(String::as_str);
    let begun = Instant::now();
    let args = ["--mode=proxy", "--dry-run", "--to=198.51.100.77"];
    let shown = printed(&args.into_iter().chain(specs).collect::<Vec<_>>());
    assert_eq!(shown.lines().filter(|line| line.contains("198.51.100.77:80")).count(), 60_000);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn ports_that_are_chosen_are_the_lowest_that_are_free() {
    let specs: Vec<_> = (0..300).map(|_| "20000-29999:80").collect();
    let args = [&[NETWORKS[1], "--to=192.0.2.2", "20001:80"][..], &specs].concat();
    let rules = rules(&args);
    let has = |port: u16| rules.contains(&format!(" {port} "));
    assert!((20_000..20_301).all(has) && !has(20_301), "{rules}");
}
