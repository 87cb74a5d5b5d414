//! What stands in the way of publishing on this host, and what mends it. Nothing is changed.

mod finding;
mod firewall;
mod forwarding;
mod limits;
mod netfilter;
mod ports;
mod privileges;
mod procfs;

use std::process::ExitCode;

use portmap::{BoxError, PortSpec};

use self::finding::{Finding, State};
use crate::output::{self, print};

/// Looks, and prints what was found. `SUCCESS` where nothing is wrong.
pub(crate) async fn examine(specs: &[PortSpec], json: bool) -> Result<ExitCode, BoxError> {
    let mut findings = privileges::check(specs);
    findings.extend(ports::check(specs).await);
    findings.extend(limits::check(specs));
    findings.extend(forwarding::check());
    findings.extend(netfilter::check().await);
    findings.extend(firewall::check());
    if json {
        print(output::json(&(serde_json::to_string_pretty(&findings)? + "\n")))?;
    } else {
        findings.iter().try_for_each(|finding| print(format_args!("{finding}\n")))?;
        print(summary(&findings) + "\n")?;
    }
    Ok(match findings.iter().any(|finding| finding.state == State::Wrong) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn summary(findings: &[Finding]) -> String {
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    match (count(State::Wrong), count(State::Unknown)) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, unseen) => format!("nothing is wrong as far as can be seen; {unseen} could not be"),
        (wrong, _) => format!("{wrong} wrong"),
    }
}
