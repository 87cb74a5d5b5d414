//! What would be in force, printed, and nothing done. What is not known beforehand is noted on standard error.

use std::fmt::Display;

use portmap::{BoxError, HostPort, Publish, rules::Network};

use crate::{
    args::{Args, Mode},
    assume,
    choice::Choice,
    demo::Contained,
    output::{Table, complain, print},
    plan::Plan,
};

pub(crate) fn show(args: &Args, plan: &Plan, choice: &Choice) -> Result<(), BoxError> {
    let mut networks = plan.networks(args.networks());
    choice.said().into_iter().for_each(note);
    let mode = choice.mode;
    let mut requests = match mode {
        Mode::Hybrid => plan.by_nat(),
        Mode::Proxy | Mode::Rules => plan.named(),
    };
    if !plan.for_webapp().is_empty() {
        let (network, request) = Contained::assumed(plan.for_webapp())?;
        note(format_args!("the webapp is shown at {}, of {network}", request.endpoint()));
        networks.push(network);
        requests.push(request);
    }
    match mode {
        Mode::Proxy => print(format_args!("{}\n", Table::of_requests(&requests)))?,
        Mode::Hybrid | Mode::Rules => {
            let rules = assume::rules(&networks, &requests, &args.rules.policy(mode))?;
            assume::routed(&networks, &requests).into_iter().for_each(note);
            note_choices(&networks, &requests);
            if mode == Mode::Hybrid {
                note("what these rules leave to this host's own sockets the proxy serves");
            }
            print(rules)?;
        }
    }
    Ok(())
}

/// Says which numbers stand for others.
fn note_choices(networks: &[Network], requests: &[Publish]) {
    for request in requests {
        let endpoint = request.endpoint();
        if !assume::has_nat(networks, request) {
            continue;
        }
        for mapping in request.mappings() {
            let ports = mapping.container_ports();
            match mapping.host_port() {
                HostPort::Exact(_) => {}
                HostPort::AnyOf(host) => {
                    note(format_args!(
                        "the lowest free port of {host} for {ports} of {endpoint} may be another one"
                    ));
                }
                HostPort::Ephemeral => {
                    note(format_args!(
                        "the ephemeral port for {ports} of {endpoint} will be another one"
                    ));
                }
            }
        }
    }
}

fn note(text: impl Display) {
    complain(format_args!("note: {text}"));
}
