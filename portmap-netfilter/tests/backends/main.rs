//! What the kernel makes of our rules. Each test has a network namespace of its own.

#[path = "../../../portmap-rules/tests/common/mod.rs"]
mod common;
mod constructs;
mod forgetting;
mod host;
mod iptables;
mod ownership;
mod peer;
mod published;
mod refusals;
mod scenes;
mod speed;
mod suite;
mod tool;

use std::process::ExitCode;

use suite::Suite;

fn main() -> ExitCode {
    if std::env::var_os(ownership::CHILD).is_some() {
        return ownership::child().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    if std::env::var_os(refusals::UNPRIVILEGED).is_some() {
        return refusals::unprivileged().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    if let Some(name) = std::env::var_os(host::SQUATTER) {
        return host::squatter(&name).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let mut suite = Suite::from_args();
    constructs::add(&mut suite);
    published::add(&mut suite);
    ownership::add(&mut suite);
    refusals::add(&mut suite);
    speed::add(&mut suite);
    forgetting::add(&mut suite);
    iptables::add(&mut suite);
    host::add(&mut suite);
    scenes::add(&mut suite);
    suite.run()
}
