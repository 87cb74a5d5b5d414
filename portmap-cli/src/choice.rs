//! Which way it is done, where a person left that open.

use portmap::rules::Network;

use crate::{
    args::{Args, Mode},
    capability::Capability,
    monitor::Monitor,
    plan::Plan,
};

/// A way to publish, and how it came to be that one.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) mode: Mode,
    /// Whether it was this tool's: another one will do, too, where this one turns out not to work.
    pub(crate) is_open: bool,
    /// What speaks against the other one.
    why: Option<String>,
}

impl Choice {
    /// The mode that was asked for; else both ways at once where the machine allows that, else the proxy.
    pub(crate) fn of(args: &Args, plan: &Plan) -> Self {
        match (args.asked(), obstacle(plan, &plan.networks(args.networks()))) {
            (Some(mode), _) => Self { mode, is_open: false, why: None },
            (None, Ok(())) => Self { mode: Mode::Hybrid, is_open: true, why: None },
            (None, Err(why)) => Self::proxy(why),
        }
    }

    /// The proxy, since there is something that speaks against rules.
    pub(crate) const fn proxy(why: String) -> Self {
        Self { mode: Mode::Proxy, is_open: true, why: Some(why) }
    }

    /// What was chosen and why; nothing where a person did.
    pub(crate) fn said(&self) -> Option<String> {
        match &self.why {
            _ if !self.is_open => None,
            Some(why) => Some(format!("mode proxy: {why}")),
            None => Some("mode hybrid".to_owned()),
        }
    }

    pub(crate) fn tell(&self, monitor: &Monitor) {
        self.said().into_iter().for_each(|said| monitor.note(said));
    }
}

/// What can be seen beforehand to speak against rules. Nothing is tried: that would change the host.
fn obstacle(plan: &Plan, networks: &[Network]) -> Result<(), String> {
    let has_webapp = !plan.for_webapp().is_empty();
    if !Capability::NetAdmin.is_here() {
        return Err("no CAP_NET_ADMIN".to_owned());
    }
    if has_webapp && !Capability::SysAdmin.is_here() {
        return Err("no CAP_SYS_ADMIN for a webapp with a namespace of its own".to_owned());
    }
    plan.check_places(networks)?;
    plan.check_ways_in(networks)?;
    if !has_webapp && plan.by_nat().is_empty() {
        plan.check_addresses()?;
    }
    Ok(())
}
