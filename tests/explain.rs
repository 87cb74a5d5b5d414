//! By which ways a port would be reached, as the tool explains it: without any privilege, and as docs/tool.md has it.
#![expect(clippy::unwrap_used, reason = "output that cannot be read ends the test")]

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use portmap::Protocol;
use portmap_testkit::matrix::{Family, Kind, Outcome, Path as Way, SeenAs};

/// The `publish` tool, which cargo builds beside the tests.
fn tool() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap();
    built.join("examples/publish")
}

fn run(args: &[&str]) -> Output {
    Command::new(tool()).arg("--explain").args(args).output().unwrap()
}

fn explained(args: &[&str]) -> String {
    let output = run(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_example_of_the_page_is_what_is_printed() {
    let page = include_str!("../docs/tool.md");
    let (_, example) = page.split_once("$ publish --explain ").unwrap();
    let (command, rest) = example.split_once('\n').unwrap();
    let (wanted, _) = rest.split_once("```").unwrap();
    assert_eq!(explained(&command.split_whitespace().collect::<Vec<_>>()), wanted);
}

/// The rows of a path, in the order of the families that it is there in.
fn rows(text: &str, path: Way) -> impl Iterator<Item = &str> {
    let name = path.to_string();
    text.lines().filter(move |line| line.starts_with(&name))
}

#[test]
fn every_path_is_explained_as_the_matrix_has_it() {
    let networks = [
        "--network=br0=192.0.2.0/24,2001:db8:2::/64",
        "--network=docker0=172.17.0.0/16,fd00:17::/64",
    ];
    let kinds = [("proxy", Kind::Proxy), ("rules", Kind::Nat), ("hybrid", Kind::Hybrid)];
    let paths = [
        Way::OutsideClient,
        Way::Loopback,
        Way::OwnAddress,
        Way::OtherNetwork,
        Way::SameNetwork,
        Way::Itself,
        Way::DirectPublished,
        Way::DirectUnpublished,
        Way::RoutedLoopback,
    ];
    for (mode, kind) in kinds {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let spec = format!("8080:80/{protocol}@192.0.2.2,2001:db8:2::2");
            let text = explained(&[networks[0], networks[1], "--mode", mode, &spec]);
            for path in paths {
                let families = Family::ALL.into_iter().filter(|it| path.exists_in(*it));
                let rows: Vec<_> = rows(&text, path).collect();
                assert_eq!(rows.len(), families.clone().count(), "{mode} {path}: {text}");
                for (row, family) in rows.into_iter().zip(families) {
                    let wanted = match kind.expected(path, family, protocol) {
                        Outcome::Delivered(SeenAs::Client) => "  client ",
                        Outcome::Delivered(SeenAs::Gateway) => "  gateway ",
                        Outcome::Refused => "  refused: ",
                        _ => "  dropped: ",
                    };
                    assert!(row.contains(wanted), "{mode} {protocol} {family}: {wanted}: {row}");
                }
            }
        }
    }
}

#[test]
fn rules_without_their_proxy_leave_paths_to_nobody() {
    let networks = ["--network=br0=192.0.2.0/24", "--mode=rules", "--loopback=proxy"];
    for (spec, wanted) in
        [("8080:80@192.0.2.2", "refused: "), ("8080:80/udp@192.0.2.2", "dropped: ")]
    {
        let text = explained(&[&networks[..], &[spec]].concat());
        let row = rows(&text, Way::SameNetwork).next().unwrap();
        assert!(row.contains("  nobody ") && row.contains(wanted), "{row}");
    }
}

#[test]
fn clients_of_the_family_that_a_container_lacks_are_explained() {
    let cases = [
        ("hybrid", "192.0.2.2", "  the proxy  gateway 192.0.2.1 "),
        ("hybrid", "2001:db8:2::2", "  the proxy  gateway 2001:db8:2::1 "),
        ("rules", "192.0.2.2", "  refused: no socket there"),
    ];
    for (mode, to, wanted) in cases {
        let network = "--network=br0=192.0.2.0/24,2001:db8:2::/64";
        let text = explained(&[network, "--mode", mode, "8080:80", "--to", to]);
        for path in [Way::OutsideClient, Way::Loopback, Way::OwnAddress] {
            let other = |row: &&str| row.contains(" -> [") == to.contains('.');
            let row = rows(&text, path).find(other).unwrap();
            assert!(row.contains(wanted), "{mode} {to}: {text}");
        }
    }
}

#[test]
fn a_routed_network_uses_no_host_port() {
    let args = ["--network=br0=10.1.0.0/24,mode=routed", "8080:80@10.1.0.2"];
    let routed = "by rules tcp 10.1.0.2:80 is reached at the container's own address; host port 8080 is not used\n";
    for mode in ["--mode=rules", "--mode=hybrid"] {
        let text = explained(&[&args[..], &[mode]].concat());
        assert!(text.contains(routed) && text.contains("\ntcp 10.1.0.2, port 80\n"), "{text}");
        assert!(!text.contains("*:80") && !text.contains("2001:db8"), "{text}");
        let row = rows(&text, Way::DirectPublished).next().unwrap();
        assert!(row.contains("  nftables   client "), "{row}");
    }
    // To the proxy it is a container like any other.
    let text = explained(&[&args[..], &["--mode=proxy"]].concat());
    assert!(text.contains("\ntcp *:8080 -> 10.1.0.2:80\n"), "{text}");
    let dropped = "dropped: the host does not forward, unless somebody has switched that on\n";
    assert!(text.contains(dropped), "{text}");
}

#[test]
fn no_proxy_serves_sctp() {
    let text = explained(&["--mode=hybrid", "--network=br0=192.0.2.0/24", "80:80/sctp@192.0.2.2"]);
    let outside = rows(&text, Way::OutsideClient).next().unwrap();
    assert!(outside.contains("  nftables  "), "{outside}");
    for path in [Way::Loopback, Way::SameNetwork, Way::Itself] {
        let row = rows(&text, path).next().unwrap();
        assert!(row.contains("  nobody  ") && row.contains("  refused: no socket there"), "{row}");
    }
}

#[test]
fn a_mode_that_was_not_asked_for_is_explained() {
    let text = explained(&["8080:80", "--to", "192.0.2.2"]);
    assert!(text.starts_with("mode proxy: "), "{text}");
    assert!(text.contains("  this host's address toward it  "), "{text}");
}

#[test]
fn an_address_of_the_host_stands_in_its_own_place() {
    let text =
        explained(&["--mode=hybrid", "--network=br0=192.0.2.0/24", "10.1.2.3:8080:80@192.0.2.2"]);
    let row = rows(&text, Way::OutsideClient).next().unwrap();
    assert!(row.contains(" -> 10.1.2.3:8080 ") && row.contains("  client 10.1.2.1 "), "{row}");
}

#[test]
fn what_cannot_be_published_is_not_explained() {
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--source=proxy-v2", "80"], 2, "--explain is for --source gateway\n"),
        (&["--dry-run", "80"], 2, "cannot be used with"),
        (&[], 2, "required arguments were not provided"),
        (&["--mode=hybrid", "80:80@192.0.2.2"], 1, "192.0.2.2 lies in no network"),
    ];
    for (args, status, message) in cases {
        let output = run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(status), 0),
            "{args:?}: {said}"
        );
        assert!(said.contains(message), "{args:?}: {said}");
    }
}
