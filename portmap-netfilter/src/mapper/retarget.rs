//! Leading host ports to another container.

use portmap_core::{Binding, Endpoint, Error, ErrorKind, Established, WithCauses};
use portmap_rules::{Edit, Entry};
use tracing::{debug, warn};

use super::{
    plan::{nat_bridge, silence_again},
    task::Task,
};

impl Task {
    /// Leads an entry's host ports elsewhere, in one transaction. What would refuse a publish there refuses this as well,
    /// and nothing has changed then.
    pub(super) async fn retarget(
        &mut self,
        entry: Entry,
        to: Endpoint,
        established: Established,
    ) -> Result<(), Error> {
        let before = self.ledger.entry(entry).unwrap_or_default().to_vec();
        let bridge = nat_bridge(to, self.ledger.networks())?;
        if bridge.is_some() != self.reservations.contains_key(&entry) {
            let message = "a network with NAT and a routed one cannot stand in for one another";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let after: Vec<Binding> = before.iter().cloned().map(|binding| binding.to(to)).collect();
        if let Some(refusal) = self.kernel.forwarding.refusal(&after) {
            return Err(refusal);
        }
        if bridge.is_some() {
            self.make_way_to(&after).await?;
        }
        let publish = vec![(entry, after)];
        let led = self.change(Edit { release: vec![entry], publish, ..Edit::default() }).await;
        // To the old container's bridge, where nothing else is published there; to the new one's, where that failed.
        self.close_way(&[]).await;
        led?;
        debug!(?entry, ?to, "retargeted");
        if let (Some(bridge), Some(reservation)) = (bridge, self.reservations.get(&entry)) {
            silence_again(reservation, bridge);
        }
        if established == Established::Cut
            && let Err(error) = self.kernel.conntrack.cut(&leaving(&before, to)).await
        {
            warn!(error = %WithCauses(&error), "connections to the old container go on");
        }
        Ok(())
    }
}

/// The bindings as they led where nothing leads any more: to the addresses that the new endpoint does not have.
fn leaving(before: &[Binding], to: Endpoint) -> Vec<Binding> {
    let mut leaving = Vec::new();
    for binding in before {
        let endpoint = binding.endpoint();
        let left = endpoint.addrs().filter(|addr| !to.addrs().any(|new| new == *addr));
        leaving.extend(left.map(|addr| binding.clone().to(Endpoint::from(addr))));
    }
    leaving
}

#[cfg(test)]
mod tests {
    use portmap_core::{HostAddr, Protocol};

    use super::*;

    #[test]
    fn what_a_lease_still_leads_to_is_not_left() {
        let to = |text: &str| text.parse::<Endpoint>().unwrap();
        let (port, ports) = ("8080".parse().unwrap(), "80".parse().unwrap());
        let both = to("192.0.2.2,2001:db8::2");
        let before = Binding::new(Protocol::Tcp, HostAddr::Any, port, both, ports).unwrap();
        let before = [before];
        let endpoints =
            |new: &str| leaving(&before, to(new)).iter().map(Binding::endpoint).collect::<Vec<_>>();
        assert_eq!(endpoints("192.0.2.2,2001:db8::2"), []);
        assert_eq!(endpoints("192.0.2.2,2001:db8::3"), [to("2001:db8::2")]);
        assert_eq!(endpoints("192.0.2.3"), [to("192.0.2.2"), to("2001:db8::2")]);
    }
}
