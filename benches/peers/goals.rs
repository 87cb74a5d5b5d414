//! What the project set out to reach, as bounds of figures.

use crate::{
    groups::{GROUPS, Measure},
    peer::Peer,
    record::{GroupRecord, Record},
};

/// A bound that one figure of ours has to keep. Whether it is the least or the most follows from what is better.
pub(crate) struct Goal {
    /// Any one of these has to keep it.
    pub(crate) by: &'static [Peer],
    pub(crate) group: &'static str,
    pub(crate) cell: &'static str,
    /// The measure's.
    key: &'static str,
    /// Whose figure it is a multiple of; `None` if it is one itself, in the measure's unit.
    pub(crate) than: Option<Peer>,
    pub(crate) bound: f64,
}

pub(crate) const PROXIES: &[Peer] = &[Peer::Portmap, Peer::PortmapOneThread];
pub(crate) const RULES: &[Peer] = &[Peer::PortmapRules];

const fn proxy(group: &'static str, cell: &'static str, key: &'static str, bound: f64) -> Goal {
    Goal { by: PROXIES, group, cell, key, than: Some(Peer::BASE), bound }
}

const fn haproxy(group: &'static str, cell: &'static str, key: &'static str, bound: f64) -> Goal {
    Goal { by: PROXIES, group, cell, key, than: Some(Peer::Haproxy), bound }
}

const fn absolute(group: &'static str, cell: &'static str, key: &'static str, bound: f64) -> Goal {
    Goal { by: PROXIES, group, cell, key, than: None, bound }
}

const fn rules(group: &'static str, cell: &'static str, key: &'static str, bound: f64) -> Goal {
    Goal { by: RULES, group, cell, key, than: Some(Peer::Rule), bound }
}

/// Not to be moved to what was reached: a goal that is missed is shown as that.
pub(crate) const GOALS: &[Goal] = &[
    proxy("bulk", "1 stream down", "rate", 1.0),
    proxy("bulk", "8 streams down", "rate", 1.1),
    proxy("bulk", "1 stream up", "rate", 1.0),
    proxy("bulk", "1 stream down", "cpu", 0.9),
    haproxy("bulk", "1 stream down", "rate", 1.3),
    haproxy("bulk", "8 streams down", "rate", 1.1),
    proxy("keep-alive", "1 connection", "rate", 1.0),
    proxy("keep-alive", "32 connections", "rate", 1.3),
    proxy("keep-alive", "256 connections", "rate", 1.37),
    proxy("keep-alive", "256 connections", "p99", 0.6),
    proxy("short", "1 at a time", "rate", 1.45),
    proxy("short", "32 at a time", "rate", 1.3),
    proxy("short", "256 at a time", "rate", 1.2),
    proxy("short", "1 at a time", "p99", 0.55),
    proxy("short", "32 at a time", "p99", 0.55),
    proxy("short", "256 at a time", "p99", 0.55),
    proxy("short", "1 at a time", "cpu", 0.6),
    proxy("short", "32 at a time", "cpu", 0.6),
    proxy("short", "256 at a time", "cpu", 0.6),
    proxy("udp", "1 socket", "rate", 1.7),
    proxy("udp", "32 sockets", "rate", 1.4),
    proxy("udp", "1,000 sockets", "rate", 1.5),
    proxy("flood", "one flow", "rate", 1.7),
    absolute("burst", "1,000 sockets", "lost", 0.0),
    proxy("segments", "one flow", "cpu", 0.3),
    absolute("memory", "an idle connection", "pss", 2.5),
    absolute("memory", "an idle connection", "descriptors", 2.0),
    absolute("memory", "an idle UDP session", "pss", 3.5),
    rules("bulk", "8 streams down", "rate", 0.97),
    rules("keep-alive", "256 connections", "rate", 0.97),
    rules("short", "256 at a time", "rate", 0.97),
    rules("udp", "1,000 sockets", "rate", 0.97),
];

impl Goal {
    /// `None` if the table above names a figure that there is not.
    pub(crate) fn measure(&self) -> Option<&'static Measure> {
        let group = GROUPS.iter().find(|group| group.name == self.group)?;
        group.cells.iter().find(|(cell, _)| *cell == self.cell)?;
        group.measures.iter().find(|measure| measure.key == self.key)
    }

    /// What a peer reached, in the bound's terms.
    pub(crate) fn reached(&self, record: &Record, peer: Peer) -> Option<f64> {
        let measure = self.measure()?;
        let group: &GroupRecord = record.groups.get(self.group)?;
        match self.than {
            Some(than) => Some(group.ratio(self.cell, peer, than, self.key)?.median),
            None => Some(group.spread(self.cell, peer, self.key)?.median * measure.scale),
        }
    }

    pub(crate) fn is_kept_by(&self, figure: f64) -> bool {
        match self.measure() {
            Some(measure) if measure.more => figure >= self.bound,
            Some(_) => figure <= self.bound,
            None => false,
        }
    }

    /// Whether any of ours keeps it; `None` if none was measured.
    pub(crate) fn is_met(&self, record: &Record) -> Option<bool> {
        let reached = self.by.iter().filter_map(|peer| self.reached(record, *peer));
        reached.map(|figure| self.is_kept_by(figure)).reduce(|one, other| one || other)
    }
}
