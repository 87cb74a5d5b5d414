//! Two mappers for one port.

mod both;
mod share;

use std::collections::HashSet;

use self::{
    both::Both,
    share::{Share, give_back},
};
use crate::{Binding, Error, Lease, PortMapper, Publish, Reservation};

/// Publishes by two mappers at once: rules in the kernel for the traffic that NAT can serve, a proxy for all the rest.
///
/// It reserves the host ports itself and asks the rules, then the proxy, with a request that
/// [brings them reserved](Publish::with_reserved). So the ports are nobody else's before a rule leads anywhere, and no
/// client is let in before all rules are in force. Releasing goes the other way: the proxy closes its door, the rules
/// go, and only then are the ports free.
///
/// The rules have to leave to the proxy what it is to serve: `Loopback::Proxy`, in the policy of `portmap-rules`.
///
/// # Who serves what
/// A mapping that one of the two says is [`Unsupported`](crate::ErrorKind::Unsupported) is left to the other: the proxy serves
/// alone where the kernel cannot, and rules alone what no process relays, such as SCTP. See
/// [`require_rules`](Self::require_rules). What neither supports fails, as does every other error: then all is undone.
///
/// Rules that answer with bindings of their own, and none of those asked for, need no host port: so does a routed
/// network, which opens the container's ports. The host ports are given up then, and the proxy is not asked.
#[derive(Clone, Debug)]
pub struct HybridMapper<P, R> {
    proxy: P,
    rules: R,
    require_rules: bool,
}

impl<P, R> HybridMapper<P, R> {
    /// A mapper that has ports served by a proxy and by rules.
    pub const fn new(proxy: P, rules: R) -> Self {
        Self { proxy, rules, require_rules: false }
    }

    /// Fails where the rules do not support a mapping, instead of leaving it to the proxy alone.
    #[must_use]
    pub fn require_rules(mut self) -> Self {
        self.require_rules = true;
        self
    }
}

impl<P: PortMapper, R: PortMapper> PortMapper for HybridMapper<P, R> {
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        let reservation = Reservation::take(&request).await?;
        let bindings: Vec<_> = reservation.bindings().cloned().collect();
        let reserved = reservation.reserved().iter().cloned();
        let request = reserved.fold(Publish::new(request.endpoint()), Publish::with_reserved);

        let rules = Share::ask(&self.rules, &request).await?;
        if need_no_host_port(&rules.lease, &bindings) {
            return Ok(rules.lease);
        }
        if let (true, Some(refusal)) = (self.require_rules, rules.refusal) {
            give_back(rules.lease).await;
            return Err(refusal);
        }
        let proxy = match Share::ask(&self.proxy, &request).await {
            Ok(proxy) => proxy,
            Err(error) => {
                give_back(rules.lease).await;
                return Err(error);
            }
        };
        if let Some(refusal) = proxy.refusal
            && !are_served(&bindings, [&rules.lease, &proxy.lease])
        {
            give_back(proxy.lease).await;
            give_back(rules.lease).await;
            return Err(refusal);
        }
        let endpoint = request.endpoint();
        let both = Both { proxy: proxy.lease, rules: rules.lease, reservation, endpoint };
        Ok(Lease::new(bindings, both))
    }
}

fn need_no_host_port(rules: &Lease, asked: &[Binding]) -> bool {
    let asked: HashSet<_> = asked.iter().collect();
    let given = rules.bindings();
    !given.is_empty() && !given.iter().any(|binding| asked.contains(binding))
}

fn are_served(bindings: &[Binding], by: [&Lease; 2]) -> bool {
    let served: HashSet<_> = by.into_iter().flat_map(Lease::bindings).collect();
    bindings.iter().all(|binding| served.contains(binding))
}
