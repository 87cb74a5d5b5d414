//! What needs network namespaces: run by `cargo test --features netns`, as root or as an ordinary user.

mod faults;
mod limits;
mod paths;
mod publish;
mod seed;
mod support;
mod udp;

use std::process::ExitCode;

use portmap_testkit::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    seed::tests(&mut suite);
    paths::tests(&mut suite);
    publish::tests(&mut suite);
    faults::tests(&mut suite);
    limits::tests(&mut suite);
    udp::tests(&mut suite);
    suite.run()
}
