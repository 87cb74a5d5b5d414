//! What needs network namespaces: run by `cargo test --features netns`, as root or as an ordinary user.

mod attached;
mod broken;
mod caller;
mod contract;
mod dial;
mod engine;
mod entries;
mod examples;
mod faults;
mod flows;
mod foreign;
mod forge;
mod forwarding;
mod hybrid;
mod invalid;
mod limits;
mod link_local;
mod matrix;
mod model;
mod nat;
mod paths;
mod process;
mod publish;
mod publish_daemon;
mod publish_docker;
mod publish_hybrid;
mod publish_inside;
mod publish_many;
mod publish_rules;
mod publish_told;
mod publish_tracked;
mod retarget;
mod rules;
mod rules_end;
mod seed;
mod support;
mod two_owners;
mod udp;
mod udp_ends;
mod uplinks;

use std::process::ExitCode;

use portmap_testkit::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    seed::tests(&mut suite);
    paths::tests(&mut suite);
    publish::tests(&mut suite);
    publish_daemon::tests(&mut suite);
    publish_docker::tests(&mut suite);
    publish_hybrid::tests(&mut suite);
    publish_inside::tests(&mut suite);
    publish_many::tests(&mut suite);
    publish_rules::tests(&mut suite);
    publish_told::tests(&mut suite);
    publish_tracked::tests(&mut suite);
    rules::tests(&mut suite);
    rules_end::tests(&mut suite);
    matrix::tests(&mut suite);
    broken::tests(&mut suite);
    contract::tests(&mut suite);
    caller::tests(&mut suite);
    retarget::tests(&mut suite);
    dial::tests(&mut suite);
    examples::tests(&mut suite);
    foreign::tests(&mut suite);
    forwarding::tests(&mut suite);
    two_owners::tests(&mut suite);
    hybrid::tests(&mut suite);
    invalid::tests(&mut suite);
    faults::tests(&mut suite);
    flows::tests(&mut suite);
    limits::tests(&mut suite);
    link_local::tests(&mut suite);
    udp::tests(&mut suite);
    udp_ends::tests(&mut suite);
    uplinks::tests(&mut suite);
    suite.run()
}
