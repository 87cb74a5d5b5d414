//! One look at connection tracking: one pass over the kernel's list, of which what is needed is kept and the rest is counted.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher,
    net::IpAddr,
    sync::Arc,
};

use portmap::rules::{Flow, FlowState};

use super::MOST;

/// As many connections are told apart from look to look: what the kernel's table holds unless told otherwise. Of a longer one the
/// rest is counted alone.
const TOLD_APART: usize = 1 << 18;

/// A connection's number as long as this process runs. A key by itself would take ten times the room; two connections with one
/// number are taken for one, which happens once in some hundred million looks at 100,000.
pub(super) type Print = u64;

/// What was in the list.
#[derive(Clone, Debug, Default)]
pub(super) struct Prints {
    pub(super) open: HashSet<Print>,
    /// Connections that are over, and still remembered by the kernel.
    pub(super) over: HashSet<Print>,
}

/// What the list is compared with.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) numbers: RandomState,
    /// What was there at the last look; nothing where there was none.
    pub(super) prints: Option<Arc<Prints>>,
    /// Those of it that are followed.
    pub(super) followed: Arc<HashSet<Print>>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Look {
    before: Before,
    pub(super) prints: Prints,
    /// Those that are followed and still there.
    pub(super) known: Vec<(Print, Flow)>,
    /// Those that have come since the last look, also what is over by now: as many as can be followed.
    pub(super) new: Vec<(Print, Flow)>,
    /// Open ones that were there before and are not followed, as many as there is room for.
    pub(super) waiting: Vec<(Print, Flow)>,
    /// How many open ones were there before and are not followed.
    pub(super) old: usize,
    /// How many have come that are not among [`new`](Self::new): open ones, and those that are over.
    pub(super) more: (usize, u64),
    /// Where open ones lead.
    pub(super) ends: HashSet<IpAddr>,
}

impl Look {
    pub(super) fn new(before: Before) -> Self {
        Self {
            before,
            prints: Prints::default(),
            known: Vec::new(),
            new: Vec::new(),
            waiting: Vec::new(),
            old: 0,
            more: (0, 0),
            ends: HashSet::new(),
        }
    }

    /// Takes what the kernel lists next.
    pub(super) fn take(&mut self, flow: Flow) {
        let print = self.before.numbers.hash_one((flow.protocol, flow.client, flow.host, flow.id));
        let is_over = flow.state == FlowState::Closed;
        let told_apart = self.prints.open.len() + self.prints.over.len() < TOLD_APART;
        let prints = if is_over { &mut self.prints.over } else { &mut self.prints.open };
        // A table that grows while it is listed has some twice.
        if told_apart && !prints.insert(print) {
            return;
        }
        if !is_over {
            self.ends.insert(flow.endpoint.ip());
        }
        if self.before.followed.contains(&print) {
            return self.known.push((print, flow));
        }
        let was_there = match &self.before.prints {
            Some(before) => {
                before.open.contains(&print) || before.over.contains(&print) || !told_apart
            }
            // What was over before anybody looked is never told.
            None => is_over,
        };
        match (was_there, is_over) {
            (true, true) => {}
            (true, false) => {
                self.old += 1;
                if self.waiting.len() + self.before.followed.len() < MOST {
                    self.waiting.push((print, flow));
                }
            }
            (false, _) if self.new.len() < MOST => self.new.push((print, flow)),
            (false, true) => self.more.1 += 1,
            (false, false) => self.more.0 += 1,
        }
    }
}
