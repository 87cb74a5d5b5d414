//! Hooks, chains and what follows from rules.

use std::net::{IpAddr, SocketAddr};

use super::{Loss, Step, flight::Flight};
use crate::{
    ChainKind, ChainPolicy, Data, Hook, Name, NatPorts, Priority, Rule, Table, TableId, Target,
    Verdict,
};

/// What a chain says.
enum Outcome {
    Undecided,
    Accepted,
    Dropped,
}

impl Flight<'_> {
    /// Asks all chains of a hook; NAT of an answer is undone between them.
    pub(super) fn hook(&mut self, hook: Hook) -> Result<(), Loss> {
        let rules = self.rules;
        let family = self.family();
        let mut chains: Vec<_> = rules
            .tables()
            .iter()
            .filter(|(id, _)| id.family.sees(family))
            .flat_map(|(id, table)| {
                table.chains.iter().filter_map(move |(name, chain)| {
                    let base = chain.base.filter(|base| base.hook == hook)?;
                    Some((base, id, table, name))
                })
            })
            .collect();
        chains.sort_by_key(|(base, ..)| base.priority);
        let mut untracked = matches!(hook, Hook::Prerouting | Hook::Output);
        for (base, id, table, name) in chains {
            if untracked && base.priority >= Priority::DSTNAT {
                untracked = false;
                self.undo_destination();
            }
            if base.kind == ChainKind::Nat && !self.asks_nat(hook) {
                continue;
            }
            match self.chain(hook, id, table, name) {
                Outcome::Accepted => {}
                Outcome::Dropped => return Err(Loss::Rule),
                Outcome::Undecided if base.policy == ChainPolicy::Drop => return Err(Loss::Policy),
                Outcome::Undecided => {}
            }
        }
        if untracked {
            self.undo_destination();
        }
        self.finish(hook);
        Ok(())
    }

    /// NAT is asked for the first packet of a connection, once for each of its ends.
    const fn asks_nat(&self, hook: Hook) -> bool {
        let asked = match hook {
            Hook::Prerouting | Hook::Output => self.connection.destination_asked,
            _ => self.connection.source_asked,
        };
        !self.connection.answered && !self.connection.invalid && !asked
    }

    fn finish(&mut self, hook: Hook) {
        match hook {
            Hook::Prerouting | Hook::Output => self.connection.destination_asked = true,
            Hook::Postrouting | Hook::Input => {
                self.connection.source_asked = true;
                if self.connection.answered {
                    self.from = self.packet.to;
                }
            }
            Hook::Forward => {}
        }
    }

    /// An answer goes to who asked.
    const fn undo_destination(&mut self) {
        if self.connection.answered {
            self.to = self.packet.from;
        }
    }

    fn chain(&mut self, hook: Hook, id: &TableId, table: &Table, name: &Name) -> Outcome {
        let Some(chain) = table.chains.get(name) else { return Outcome::Undecided };
        for (place, rule) in chain.rules.iter().enumerate() {
            if !rule.matches.iter().all(|it| self.holds(table, it)) {
                continue;
            }
            let step = || Step {
                hook,
                table: id.clone(),
                chain: name.clone(),
                place,
                purpose: rule.purpose,
            };
            let outcome = match &rule.target {
                Target::Jump(next) => {
                    self.steps.push(step());
                    self.chain(hook, id, table, next)
                }
                Target::Return => {
                    self.steps.push(step());
                    return Outcome::Undecided;
                }
                _ => match self.decide(table, rule) {
                    Outcome::Undecided => continue,
                    outcome => {
                        self.steps.push(step());
                        outcome
                    }
                },
            };
            if !matches!(outcome, Outcome::Undecided) {
                return outcome;
            }
        }
        Outcome::Undecided
    }

    fn decide(&mut self, table: &Table, rule: &Rule) -> Outcome {
        match &rule.target {
            Target::Accept => Outcome::Accepted,
            Target::Drop => Outcome::Dropped,
            Target::Dnat { to, ports } => {
                let port = match *ports {
                    NatPorts::Keep => self.to.port(),
                    NatPorts::To(port) => port.number(),
                    NatPorts::Shift { base, to } => {
                        self.to.port().wrapping_sub(base.number()).wrapping_add(to.first().number())
                    }
                };
                self.rewrite_destination(*to, port)
            }
            Target::DnatMap { family, .. } if *family != self.family() => Outcome::Undecided,
            Target::DnatMap { key, map, .. } => match self.look_up(table, key, map) {
                Some(Some(Some(Data::Addr(addr)))) => {
                    self.rewrite_destination(addr, self.to.port())
                }
                Some(Some(Some(Data::AddrPort(addr, port)))) => {
                    self.rewrite_destination(addr, port.number())
                }
                _ => Outcome::Undecided,
            },
            Target::VerdictMap { key, map } => match self.look_up(table, key, map) {
                Some(Some(Some(Data::Verdict(Verdict::Accept)))) => Outcome::Accepted,
                Some(Some(Some(Data::Verdict(Verdict::Drop)))) => Outcome::Dropped,
                _ => Outcome::Undecided,
            },
            Target::Masquerade => self.masquerade(),
            // Nothing that is traced asks for a mark.
            Target::Jump(_) | Target::Return | Target::Mark(_) => Outcome::Undecided,
        }
    }

    fn rewrite_destination(&mut self, addr: IpAddr, port: u16) -> Outcome {
        self.to = SocketAddr::new(addr, port);
        self.connection.destination_rewritten = true;
        Outcome::Accepted
    }

    fn masquerade(&mut self) -> Outcome {
        let family = self.family();
        let address = self.leaves_by.and_then(|by| self.world.address_of(by, family));
        let Some(address) = address else { return Outcome::Dropped };
        self.from.set_ip(address);
        Outcome::Accepted
    }
}
