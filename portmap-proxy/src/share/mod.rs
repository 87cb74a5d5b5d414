//! Who may have how many of the process's descriptors.
//!
//! One process serves many bindings with one limit (`RLIMIT_NOFILE`). Were it first come, first served, whoever floods one
//! port would shut all others. So there is one account for the process, in which each binding has a share: see [`Rule`].

mod budget;
mod held;
mod look;
mod relief;
mod rule;

use std::time::Instant;

use portmap_core::Protocol;
use tracing::warn;

use crate::watch::Counters;

pub(crate) use budget::{BUDGET, Claim, Share};
pub(crate) use held::{Held, SessionClaim};
pub(crate) use relief::GiveWay;
use rule::Rule;

/// What a connection takes: the client's end and the container's.
pub(crate) const CONNECTION: usize = 2;

/// Says that a binding has used up its share, where it is time: one line a second stands for all, and
/// [`stats`](crate::ProxyMapper::stats) has the numbers of each. `own` is what the port has, which for TCP is what the
/// binding has.
pub(crate) fn tell_used_up(counters: &Counters, own: usize, now: Instant) -> bool {
    let tells = BUDGET.may_tell(now);
    if tells {
        let (binding, limit) = (counters.binding(), BUDGET.limit());
        let outcome = match binding.protocol() {
            Protocol::Udp => "sessions end early",
            _ => "clients wait",
        };
        warn!(
            %binding, descriptors = own, limit,
            "a port has used up its share of the descriptors (RLIMIT_NOFILE): {outcome}",
        );
    }
    tells
}

/// A client finds that the process has no descriptor left, whatever the account says.
pub(crate) fn ran_out(own: usize, now: Instant) {
    BUDGET.look_soon();
    BUDGET.relieve(own, now);
}
