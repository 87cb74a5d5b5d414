//! Two mappers for one port.

mod alone;
mod both;
mod share;

use std::collections::HashSet;

pub use self::alone::{ServedAlone, ServedBy};
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
/// The rules have to leave to the proxy what it is to serve: `Policy { loopback: Loopback::Proxy, ..Policy::default() }` in
/// `portmap-rules`. With its default, NAT serves 127.0.0.1 and containers' calls itself, and the proxy little but `::1`.
///
/// # Who serves what
/// A mapping that one of the two says is [`Unsupported`](crate::ErrorKind::Unsupported) is left to the other: the proxy serves
/// alone where the kernel cannot, and rules alone what no process relays, such as SCTP. [`Lease::served_alone`] says which
/// those are and why, and [`require_rules`](Self::require_rules) has the first kind fail. What neither supports fails, as
/// does every other error: then all is undone.
///
/// The same goes for [`Lease::retarget`]: where the rules say that a new endpoint is unsupported, they let go of their ports and
/// the proxy leads there alone. It stays with that. Connections that the rules carried go on with the old endpoint.
///
/// Where the rules answer with other bindings than those that were asked for, as a routed network does, which opens the
/// container's own ports, the host ports are freed and the proxy is not asked for them: only for those mappings that the
/// rules do not support.
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
        let mut reservation = Reservation::take(&request).await?;
        let mut rules = Share::ask(&self.rules, &reservation.request(request.endpoint())).await?;
        if self.require_rules && !rules.refused.is_empty() {
            give_back(rules.lease).await;
            return Err(rules.refused.swap_remove(0).1);
        }
        let mut bindings: Vec<_> = reservation.bindings().cloned().collect();
        if need_no_host_port(&rules.lease, &bindings) {
            if rules.refused.is_empty() {
                return Ok(rules.lease);
            }
            let refused: HashSet<_> = rules.refused.iter().map(|(binding, _)| binding).collect();
            reservation.retain(|binding| refused.contains(binding));
            bindings = rules.lease.bindings().to_vec();
            bindings.extend(reservation.bindings().cloned());
        }
        let request = reservation.request(request.endpoint());
        let mut proxy = match Share::ask(&self.proxy, &request).await {
            Ok(proxy) => proxy,
            Err(error) => {
                give_back(rules.lease).await;
                return Err(error);
            }
        };
        if let Some(unserved) = unserved(&proxy.refused, &rules.lease) {
            give_back(proxy.lease).await;
            give_back(rules.lease).await;
            return Err(proxy.refused.swap_remove(unserved).1);
        }
        let by_proxy = ServedBy::Proxy.alone(rules.refused);
        let both = Both {
            proxy: proxy.lease,
            rules: rules.lease,
            reservation,
            endpoint: request.endpoint(),
            alone: by_proxy.chain(ServedBy::Rules.alone(proxy.refused)).collect(),
            require_rules: self.require_rules,
        };
        Ok(Lease::new(bindings, both))
    }
}

/// Whether the rules lead to the container by other ports than those of the host that were asked for.
fn need_no_host_port(rules: &Lease, asked: &[Binding]) -> bool {
    let asked: HashSet<_> = asked.iter().collect();
    let given = rules.bindings();
    !given.is_empty() && !given.iter().any(|binding| asked.contains(binding))
}

/// Which of those that the proxy has refused the rules do not serve either.
fn unserved(refused: &[(Binding, Error)], rules: &Lease) -> Option<usize> {
    let served: HashSet<_> = rules.bindings().iter().collect();
    refused.iter().position(|(binding, _)| !served.contains(binding))
}
