//! Published ports of real containers, called by real containers: `cargo test --features containers`, as root, with Docker.

#[path = "../netns/attached.rs"]
mod attached;
mod paths;
mod programs;
#[path = "../netns/support.rs"]
#[allow(dead_code, reason = "it is shared with the tests of namespaces")]
mod support;

use std::process::ExitCode;

use portmap_testkit::{Need, Suite};

/// What every test here needs.
const NEEDS: [Need; 5] =
    [Need::Netns, Need::Root, Need::Busybox, Need::Docker, Need::Tool("iptables")];

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    paths::tests(&mut suite);
    programs::tests(&mut suite);
    suite.run()
}
