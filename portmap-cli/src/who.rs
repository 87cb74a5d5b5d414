//! Who has a port.

mod question;
mod verdict;

use std::process::ExitCode;

use nix::unistd::{Uid, User};
use portmap::{Holder, HolderState, HostAddr, PortRange, Protocol, holders};

use self::verdict::verdicts;
pub(crate) use self::{
    question::Question,
    verdict::{Found, Verdict},
};
use crate::output::{Unwritable, print};

/// Prints who has the ports. `SUCCESS` where somebody has one.
pub(crate) async fn answer(questions: &[Question]) -> Result<ExitCode, Unwritable> {
    let mut held = false;
    for question in questions {
        for protocol in question.protocols() {
            let (found, verdicts) = look(protocol, question.host, question.ports).await;
            found.iter().try_for_each(|holder| print(format_args!("{}\n", line(holder))))?;
            held |= !found.is_empty();
            for verdict in verdicts {
                held |= verdict.found == Found::Taken;
                print(format_args!("{verdict}\n"))?;
            }
        }
    }
    Ok(match held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Who is seen to have ports, and what can be said of all the others.
pub(crate) async fn look(
    protocol: Protocol,
    host: HostAddr,
    ports: PortRange,
) -> (Vec<Holder>, Vec<Verdict>) {
    let found = holders(protocol, host, ports);
    let verdicts = verdicts(protocol, host, ports, &found).await;
    (found, verdicts)
}

/// `0.0.0.0:80/tcp is in use by nginx (pid 448), nginx (pid 449)`
pub(crate) fn line(holder: &Holder) -> String {
    let mut line = format!("{}/{} is in use by ", holder.addr(), holder.protocol());
    match holder.processes() {
        [] => line += &unseen(holder.uid()),
        processes => {
            let names: Vec<_> = processes.iter().map(ToString::to_string).collect();
            line += &names.join(", ");
        }
    }
    match (holder.protocol(), holder.state()) {
        (_, HolderState::Connected) => line += ", as one end of a connection",
        (Protocol::Tcp, HolderState::Bound) => {
            line += ", which does not listen: rules of its own may serve the port";
        }
        _ => {}
    }
    line
}

/// Of a process that may not be looked at its user is known.
fn unseen(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let user = user.map_or_else(|| format!("user {uid}"), |user| user.name);
    match Uid::effective().is_root() {
        // The kernel itself, or a process outside this PID namespace.
        true => format!("a process of {user} that cannot be seen from here"),
        false => format!("a process of {user}; only that user and root can see which"),
    }
}
