//! What a lab promises, each promise a test.

#[path = "lab/bridges.rs"]
mod bridges;
#[path = "lab/calls.rs"]
mod calls;
#[path = "lab/nodes.rs"]
mod nodes;
#[path = "lab/paths.rs"]
mod paths;
#[path = "lab/scale.rs"]
mod scale;

use std::process::ExitCode;

use portmap_testkit::Suite;

fn main() -> ExitCode {
    if std::env::var_os(bridges::LEAVE_A_BRIDGE).is_some() {
        return bridges::leave_a_bridge();
    }
    let mut suite = Suite::from_args();
    paths::add(&mut suite);
    calls::add(&mut suite);
    nodes::add(&mut suite);
    bridges::add(&mut suite);
    scale::add(&mut suite);
    suite.run()
}
