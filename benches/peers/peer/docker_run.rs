//! What dockerd itself takes for a port: how much longer a container with ports takes than one without.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    process,
};

use portmap::BoxError;
use portmap_testkit::{Child, ChildError, Node};
use tokio::time::timeout;

use super::{TIED, locate};
use crate::{load::Values, measure::LIMIT, stats::Spread};

const DAEMON: &str = include_str!("docker_run.sh");

/// Removes a cgroup as soon as its processes have ended, when the standard input has: no namespace takes it along.
const SWEEP: &str = "
    cat >/dev/null
    for _ in $(seq 100); do
        left=$(find /sys/fs/cgroup -maxdepth 2 -type d -name \"$1\")
        [ -n \"$left\" ] || exit 0
        find $left -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    exit 1";

/// How long a container took to start and to be removed, in nanoseconds.
struct Took {
    up: f64,
    down: f64,
}

/// Starts a daemon that nobody else sees, and containers in turn with these ports and without any.
pub(crate) async fn publish(ports: u16) -> Result<Values, BoxError> {
    let host = Node::new("dockerd").await?;
    let cgroup = format!("portmap-bench-{}-{ports}", process::id());
    // In a session of its own, and not the process that is killed with its handle: it does its work after the others' end.
    let sweep = ["--fork", "--wait", "sh", "-c", SWEEP, "sh", &cgroup];
    let mut sweeper = host.command("setsid", sweep).await?;
    let held = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let args = TIED.into_iter().chain(held).chain(["sh", "-c", DAEMON, "sh", &cgroup]);
    let mut daemon = host.command("setpriv", args).await?;
    until(&mut daemon, "ready\n").await?;

    // The first one finds caches cold.
    container(&mut daemon, 0).await?;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for _ in 0..pairs(ports) {
        let with = container(&mut daemon, ports).await?;
        let without = container(&mut daemon, 0).await?;
        up.push(with.up - without.up);
        down.push(with.down - without.down);
    }
    for child in [&mut daemon, &mut sweeper] {
        child.end_input();
        if !child.wait().await?.success() {
            return Err(child.transcript().into());
        }
    }
    let medians = [("up", up), ("down", down)]
        .into_iter()
        .filter_map(|(key, differences)| Some((key.to_owned(), Spread::of(differences)?.median)));
    Ok(medians.collect())
}

/// A container takes 200 ms, give or take 40; a port about 30, and a hundred take seconds.
fn pairs(ports: u16) -> usize {
    if ports < 10 { 7 } else { 1 }
}

async fn container(daemon: &mut Child, ports: u16) -> Result<Took, BoxError> {
    daemon.type_line(&ports.to_string()).await?;
    let told = until(daemon, " ns\n").await?;
    let line = told.lines().last().unwrap_or_default().trim_end_matches(" ns");
    let (up, down) = line.split_once(' ').ok_or("two times")?;
    Ok(Took { up: up.parse()?, down: down.parse()? })
}

/// Reads on; a daemon takes longer than the programs that a child's own limit is made for.
async fn until(daemon: &mut Child, text: &str) -> Result<String, BoxError> {
    let read = timeout(LIMIT, async {
        loop {
            match daemon.read_until(text).await {
                Err(ChildError::Silent { .. }) => {}
                read => return read,
            }
        }
    });
    Ok(read.await.map_err(|_| format!("nothing came of it in {LIMIT:?}"))??)
}

/// Why it cannot be measured here, and the command that mends that on Debian.
pub(super) fn missing() -> Option<String> {
    if !is_root() {
        return Some("docker-run needs to be root, outside user namespaces".to_owned());
    }
    for program in ["dockerd", "docker", "docker-proxy"] {
        if locate(program).is_none() {
            return Some(format!("docker-run: {program} is missing: apt install docker.io"));
        }
    }
    let missing = "docker-run: a static busybox is missing: apt install busybox-static";
    (!locate("busybox").is_some_and(|path| is_static(&path))).then(|| missing.to_owned())
}

/// dockerd mounts and makes cgroups: the root of a user namespace may not.
fn is_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether no loader is named where an ELF file names it, behind its headers.
fn is_static(program: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(program).and_then(|file| file.take(4096).read_to_end(&mut head));
    read.is_ok() && !head.windows(4).any(|window| window == b"/ld-")
}
