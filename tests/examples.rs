//! Every example runs by itself, as any user, and says what it teaches. `publish` has tests of its own, and what an
//! example does with privilege `tests/netns` has.
#![expect(clippy::unwrap_used, reason = "output that cannot be read ends the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

/// Each, and what it has to say, in this order.
const EXAMPLES: [(&str, &[&str]); 6] = [
    ("embed", &["tcp 127.0.0.1:", "Hostname: container", "Remote IP: 127.0.0.1"]),
    ("choose", &["by the proxy alone: no network was named", "Remote IP: 127.0.0.1"]),
    ("limits", &["clients were answered", "20 opened", "1 opened, 0 of them refused"]),
    ("on_demand", &["starting the container", "the first client was answered", "the second"]),
    (
        "preview",
        &[
            "add element inet portmap on-any4 { tcp . 8080 : 192.0.2.2 . 80 }",
            "-A PORTMAP -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.0.2.2:80",
            "outside, to the published port: delivered to 192.0.2.2:80 from 198.51.100.9:40000",
            "outside, round NAT: dropped",
            "this host, over loopback: delivered to 192.0.2.2:80 from 192.0.2.1:40000",
        ],
    ),
    (
        "retarget",
        &[
            "before:              Hostname: old",
            "the open connection: Hostname: old",
            "a new one:           Hostname: new",
            "cut:                 Err(UnexpectedEof)",
            "draining, inside:    Hostname: new",
            "released",
        ],
    ),
];

/// In the tests of namespaces: they make some.
const ELSEWHERE: [&str; 2] = ["contract", "publish"];

fn start(example: &str) -> Child {
    let tests = env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap().join("examples");
    let mut command = Command::new(built.join(example));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn every_example_ends_by_itself_and_says_what_it_teaches() {
    let running = EXAMPLES.map(|(name, wanted)| (name, wanted, start(name)));
    for (name, wanted, child) in running {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name}: {said}{complaint}");
        assert_eq!(complaint, "", "{name}");
        let mut rest = said.as_str();
        for line in wanted {
            let found = rest.split_once(line);
            rest = found.unwrap_or_else(|| panic!("{name}: no {line:?} in its place:\n{said}")).1;
        }
    }
}

#[test]
fn every_example_is_short_run_here_and_listed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    let run = EXAMPLES.map(|(name, _)| name);
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "rs") {
            let name = file.file_stem().unwrap().to_str().unwrap();
            assert!(run.contains(&name) || ELSEWHERE.contains(&name), "{name} is not run");
            assert!(list.contains(&format!("({name}.rs)")), "{name} is not listed");
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines < 80 || ELSEWHERE.contains(&name), "{name} has {lines} lines");
        }
    }
}

#[test]
fn a_burst_of_clients_finds_the_limit() {
    let output = thread::spawn(|| start("limits").wait_with_output().unwrap()).join().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // Five a second, one in the buffer and one with the task; on a slow machine the burst takes longer than a second.
    let answered: u32 = said.split(' ').next().unwrap().parse().unwrap();
    assert!((6..21).contains(&answered), "{said}");
}
