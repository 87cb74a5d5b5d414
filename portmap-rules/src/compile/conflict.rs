//! Two claims to one host port.

use std::{collections::HashMap, net::IpAddr};

use portmap_core::Protocol;

use super::plan::Claim;
use crate::CompileError;

/// Finds two claims that want one port, in one pass over claims that are sorted by protocol and first port.
pub(super) fn check(claims: &[Claim<'_>]) -> Result<(), CompileError> {
    let mut seen = Seen::default();
    for claim in claims.iter().filter(|claim| claim.network.has_nat()) {
        if seen.protocol != Some(claim.protocol) {
            seen = Seen { protocol: Some(claim.protocol), ..Seen::default() };
        }
        if let Some(rival) = seen.rival(claim) {
            let both = (rival.binding.clone(), claim.binding.clone());
            return Err(CompileError::Conflict(Box::new(both)));
        }
        seen.add(claim);
    }
    Ok(())
}

/// Of the claims so far, the ones that reach furthest up: with their order only these can overlap the next one.
#[derive(Default)]
struct Seen<'a> {
    protocol: Option<Protocol>,
    of_any: Option<&'a Claim<'a>>,
    on_all: Option<&'a Claim<'a>>,
    on_one: HashMap<IpAddr, &'a Claim<'a>>,
}

impl<'a> Seen<'a> {
    fn rival(&self, claim: &Claim<'_>) -> Option<&'a Claim<'a>> {
        let overlaps = |other: &&Claim<'_>| other.host_ports.overlaps(claim.host_ports);
        match claim.host {
            None => self.of_any.filter(overlaps),
            Some(host) => {
                let same = self.on_one.get(&host).copied().filter(overlaps);
                self.on_all.filter(overlaps).or(same)
            }
        }
    }

    fn add(&mut self, claim: &'a Claim<'a>) {
        let further = |old: Option<&'a Claim<'a>>| {
            old.filter(|old| old.host_ports.last() >= claim.host_ports.last()).or(Some(claim))
        };
        self.of_any = further(self.of_any);
        match claim.host {
            None => self.on_all = further(self.on_all),
            Some(host) => {
                let furthest = further(self.on_one.get(&host).copied()).unwrap_or(claim);
                self.on_one.insert(host, furthest);
            }
        }
    }
}
