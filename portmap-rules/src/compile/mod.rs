//! From what is wanted to the rules for it.

mod conflict;
mod error;
mod iptables;
mod nftables;
mod passage;
mod places;
mod plan;
mod write;

use portmap_core::Binding;

pub use error::CompileError;
pub use passage::{Entrance, compile_passage};
use places::Places;
use plan::Plan;

use crate::{Family, Layout, Network, Policy, Ruleset};

/// The rules that put `bindings` in force, in `networks` that stand oldest first.
///
/// The order of the bindings doesn't matter. A binding whose container lies in an internal network has no rules, as
/// such a network has no way in; one in a routed network opens the container's ports and uses no host port.
///
/// # Errors
/// Where networks overlap, or a binding has no network, cannot be served by NAT, or conflicts with another one.
pub fn compile(
    networks: &[Network],
    bindings: &[Binding],
    policy: &Policy,
) -> Result<Ruleset, CompileError> {
    let places = Places::new(networks)?;
    let mut plans = Vec::new();
    for family in Family::ALL {
        let plan = Plan::new(family, &places, bindings, policy)?;
        if !plan.networks.is_empty() {
            plans.push(plan);
        }
    }
    let tables = match policy.layout {
        Layout::Iptables => plans.iter().flat_map(|plan| iptables::tables(plan, policy)).collect(),
        Layout::Nftables => nftables::table(&plans, policy).into_iter().collect(),
    };
    Ok(Ruleset { layout: policy.layout, tables })
}
