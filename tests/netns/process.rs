//! The tool as a process, and what a host looks like before it and after.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portmap::BoxError;
use portmap_testkit::{Child, Node};

use crate::support::tool;

/// The tool, started and ready.
pub(crate) async fn start(host: &Node, args: &[&str]) -> Result<Child, BoxError> {
    let mut child = host.command(&tool()?.to_string_lossy(), args.iter().copied()).await?;
    child.read_until("Ctrl-C ends it.\n").await?;
    Ok(child)
}

/// Sends a signal to it.
pub(crate) fn signal(child: &Child, signal: Signal) -> Result<(), BoxError> {
    let pid = child.pid().ok_or("it has ended")?;
    Ok(kill(Pid::from_raw(pid.try_into()?), signal)?)
}

/// The names of a node's links.
pub(crate) async fn links(host: &Node) -> Result<Vec<String>, BoxError> {
    let table = host.run(async { std::fs::read_to_string("/proc/thread-self/net/dev") }).await?;
    let names = table.lines().skip(2).filter_map(|line| line.split(':').next());
    Ok(names.map(|name| name.trim().to_owned()).collect())
}

/// How many TCP sockets listen on a node.
pub(crate) async fn listeners(host: &Node) -> Result<usize, BoxError> {
    let tables = host.run(async {
        ["tcp", "tcp6"]
            .map(|table| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")))
    });
    let mut count = 0;
    for table in tables.await {
        count += table?.lines().filter(|line| line.contains(" 0A ")).count();
    }
    Ok(count)
}
