//! Published ports of real containers, called by real containers: `cargo test --features containers`, as root, with Docker.

mod mappers;
mod paths;
#[path = "../netns/support.rs"]
#[allow(dead_code, reason = "it is shared with the tests of namespaces")]
mod support;

use std::process::ExitCode;

use portmap_testkit::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    paths::tests(&mut suite);
    suite.run()
}
