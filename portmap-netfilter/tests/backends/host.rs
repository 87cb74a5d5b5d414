//! The host's settings, and who may manage its rules.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::{linux::net::SocketAddrExt as _, unix::ffi::OsStrExt as _, unix::net},
    process::{Child, Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use portmap_core::ErrorKind;
use portmap_netfilter::{OwnerLock, Sysctl, SysctlGuard};
use portmap_rules::{Family, Prefix};

use crate::{
    suite::{Need, Suite, TestResult},
    tool,
};

pub(crate) fn add(suite: &mut Suite) {
    suite.test("a_setting_is_put_back_as_it_was", &[], put_back);
    suite.test("a_setting_that_somebody_else_made_stays", &[], left_alone);
    suite.test("a_missing_setting_is_named", &[], missing);
    suite.test("a_prefix_has_one_owner_in_a_network_namespace", &[], one_owner);
    let root = &[Need::Root, Need::Tool("setpriv")];
    suite.test("an_ordinary_user_keeps_no_owner_with_privilege_away", root, squatted);
    suite.test("an_owner_that_looks_for_the_address_alone_is_respected", root, older);
}

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

fn value(path: &str) -> Result<String, io::Error> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

async fn put_back() -> TestResult {
    tool::sh("ip link add br.1 type bridge")?;
    let settings = [
        (Sysctl::Forward(Family::Ipv4), FORWARD),
        (Sysctl::Forward(Family::Ipv6), "/proc/sys/net/ipv6/conf/all/forwarding"),
        (Sysctl::RouteLocalnet("br.1".parse()?), "/proc/sys/net/ipv4/conf/br.1/route_localnet"),
    ];
    for (key, path) in settings {
        fs::write(path, "0")?;
        let guard = SysctlGuard::enable(key)?;
        assert_eq!(value(path)?, "1", "{key}");
        guard.restore()?;
        assert_eq!(value(path)?, "0", "{key}");
        drop(SysctlGuard::enable(key)?);
        assert_eq!(value(path)?, "0", "{key}");

        // From a thread in another namespace: what counts is where it was opened.
        let guard = SysctlGuard::enable(key)?;
        let elsewhere =
            thread::spawn(move || unshare(CloneFlags::CLONE_NEWNET).map(|()| drop(guard)));
        elsewhere.join().map_err(|_| "panicked")??;
        assert_eq!(value(path)?, "0", "{key}");

        SysctlGuard::enable(key)?.disarm();
        assert_eq!(value(path)?, "1", "{key}");
    }
    let guard = SysctlGuard::enable(Sysctl::RouteLocalnet("lo".parse()?))?;
    tool::sh("ip link add gone type bridge")?;
    fs::write("/proc/sys/net/ipv4/conf/gone/route_localnet", "0")?;
    let gone = SysctlGuard::enable(Sysctl::RouteLocalnet("gone".parse()?))?;
    tool::sh("ip link del gone")?;
    gone.restore()?;
    guard.restore()?;
    Ok(())
}

async fn left_alone() -> TestResult {
    fs::write(FORWARD, "1")?;
    SysctlGuard::enable(Sysctl::Forward(Family::Ipv4))?.restore()?;
    assert_eq!(value(FORWARD)?, "1");
    fs::write(FORWARD, "0")?;
    let guard = SysctlGuard::enable(Sysctl::Forward(Family::Ipv4))?;
    fs::write(FORWARD, "0")?;
    guard.restore()?;
    assert_eq!(value(FORWARD)?, "0");
    Ok(())
}

async fn missing() -> TestResult {
    let error =
        SysctlGuard::enable(Sysctl::RouteLocalnet("none.1".parse()?)).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "there is no interface none.1 in this network namespace");
    Ok(())
}

type TestOutcome = io::Result<()>;

async fn one_owner() -> TestResult {
    let prefix: Prefix = "PORTMAP".parse()?;
    let lock = OwnerLock::acquire(&prefix)?;
    let busy = OwnerLock::acquire(&"portmap".parse()?).expect_err("it is refused");
    assert_eq!(busy.kind(), ErrorKind::Busy);
    let name = fs::read_to_string("/proc/self/comm")?;
    let holder = format!("{} (pid {})", name.trim(), std::process::id());
    assert!(busy.to_string().contains(&holder), "{busy}");
    let other = OwnerLock::acquire(&"OTHER".parse()?)?;
    let same = prefix.clone();
    let elsewhere = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).map(|()| OwnerLock::acquire(&same).is_ok())
    });
    assert!(elsewhere.join().map_err(|_| "panicked")??);
    for _ in 0..20 {
        OwnerLock::acquire(&prefix).expect_err("it is asked over and over, and still owned");
    }
    drop((lock, other));
    OwnerLock::acquire(&prefix)?;

    // A child between fork and exec has a copy of the socket, and there are many of them in these tests.
    let lock = OwnerLock::acquire(&prefix)?;
    let copy = thread::spawn(move || -> TestOutcome {
        let forks = (0..50).map(|_| Command::new("true").spawn());
        let forks: Vec<_> = forks.collect::<Result<_, _>>()?;
        forks.into_iter().try_for_each(|mut child| child.wait().map(drop))
    });
    drop(lock);
    for _ in 0..50 {
        drop(OwnerLock::acquire(&prefix)?);
    }
    copy.join().map_err(|_| "panicked")??;
    Ok(())
}

/// Set where this binary is a process that takes an address, and asks for the lock of another prefix: its name then.
pub(crate) const SQUATTER: &str = "PORTMAP_TEST_SQUATTER";

/// By its being there, that it is to take the address of a stream socket: one of another kind.
const STREAM: &str = "PORTMAP_TEST_STREAM";

/// Takes the address of the prefix `portmap`, says who has that of `PORTMAP` for a user without privilege, and waits.
pub(crate) fn squatter(name: &OsStr) -> TestResult {
    fs::write("/proc/self/comm", name.as_bytes())?;
    let address = net::SocketAddr::from_abstract_name("portmap/rules/portmap")?;
    let (_stream, _datagram) = match std::env::var_os(STREAM) {
        Some(_) => (Some(net::UnixListener::bind_addr(&address)?), None),
        None => (None, Some(net::UnixDatagram::bind_addr(&address)?)),
    };
    let busy = OwnerLock::acquire(&"PORTMAP".parse()?).map(drop).map_err(|it| it.to_string());
    let mut stdout = io::stdout();
    writeln!(stdout, "{busy:?}")?;
    stdout.flush()?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Starts one as a user, with what it says.
fn squat(user: &str, kind: Option<&str>) -> Result<(Child, String), Box<dyn std::error::Error>> {
    let mut child = Command::new("setpriv")
        .envs(kind.map(|kind| (kind, "1")))
        .args(["--reuid", user, "--clear-groups"])
        .arg(std::env::current_exe()?)
        .env(SQUATTER, "\x1b[2Jevil")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    Ok((child, line))
}

async fn squatted() -> TestResult {
    let (mut squatter, said) = squat("65534", None)?;
    // Without privilege there is nothing but the address: then it is at least said who has it.
    let named = format!("(pid {})", squatter.id());
    assert!(said.contains(&named) && said.contains("evil"), "{said:?}");
    let prefix: Prefix = "PORTMAP".parse()?;
    let lock = OwnerLock::acquire(&prefix)?;
    OwnerLock::acquire(&prefix).expect_err("it has an owner all the same");
    squatter.kill()?;
    squatter.wait()?;
    OwnerLock::acquire(&prefix).expect_err("it still has");
    drop(lock);
    OwnerLock::acquire(&prefix)?;
    Ok(())
}

/// An owner in another mount namespace, or of a version before there was a file.
async fn older() -> TestResult {
    // A user's socket of another kind has that address too, and makes it no user's.
    let (mut stream, _) = squat("65534", Some(STREAM))?;
    let (mut owner, _) = squat("0", None)?;
    let busy = OwnerLock::acquire(&"PORTMAP".parse()?).expect_err("it has an owner").to_string();
    let named = format!("\\u{{1b}}[2Jevil (pid {})", owner.id());
    assert!(busy.contains(&named), "{busy}");
    owner.kill()?;
    owner.wait()?;
    OwnerLock::acquire(&"PORTMAP".parse()?)?;
    stream.kill()?;
    stream.wait()?;
    Ok(())
}
