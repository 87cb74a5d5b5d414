//! Where a packet ends.

use std::{fmt, net::SocketAddr};

use crate::{Hook, Interface, Name, Purpose, Rule, Ruleset, TableId};

/// A packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The rules that held for it, jumps included, in the order in which they were asked.
    pub request: Vec<Step>,
    /// The same for its answer.
    pub reply: Vec<Step>,
    /// Where it ended.
    pub end: End,
}

/// A rule that held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the kernel asked.
    pub hook: Hook,
    /// The rule's table.
    pub table: TableId,
    /// The rule's chain.
    pub chain: Name,
    /// The rule's place in it, counted from 0.
    pub place: usize,
    /// Why the rule exists.
    pub purpose: Purpose,
}

/// Where a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A process got it, in a container or, where `at` is the host's, on the host. The answer came back.
    Delivered {
        /// The address and port that it reached.
        at: SocketAddr,
        /// Who seems to have sent it.
        seen_from: SocketAddr,
    },
    /// It left the host for somebody else, and an answer would come back.
    Passed {
        /// The interface that it left by.
        by: Interface,
        /// Where it goes.
        at: SocketAddr,
        /// Who seems to have sent it.
        seen_from: SocketAddr,
    },
    /// Nobody serves it: the sender is told so at once.
    Refused,
    /// It is gone without a word.
    Dropped(Loss),
    /// It was delivered or left, and the answer is lost.
    Unanswered {
        /// The address and port that it reached.
        at: SocketAddr,
        /// Who seemed to have sent it.
        seen_from: SocketAddr,
        /// What became of the answer.
        why: Loss,
    },
}

/// How a packet is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A rule dropped it: the last [`Step`].
    Rule,
    /// A chain's policy dropped it.
    Policy,
    /// An address that cannot be where it was seen: loopback outside, or the receiver's own.
    Martian,
    /// Nothing leads there.
    NoRoute,
    /// It is somebody else's, and the host does not forward.
    NotForwarded,
    /// It would leave by the bridge port that it came from, and that has no hairpin flag.
    HairpinPort,
    /// The answer went from container to container past the host, and so past NAT.
    PastNat,
}

impl Trace {
    /// The rule that decided: the one that dropped the packet or its answer, or gave it a new destination; else the
    /// last one that held.
    pub fn decision(&self) -> Option<&Step> {
        match self.end {
            End::Dropped(_) => self.request.last(),
            End::Unanswered { .. } => self.reply.last(),
            _ => {
                let translated = |step: &&Step| step.purpose == Purpose::Translate;
                self.request.iter().find(translated).or(self.request.last())
            }
        }
    }
}

impl Step {
    /// The rule itself, among those that were traced.
    pub fn rule<'a>(&self, rules: &'a Ruleset) -> Option<&'a Rule> {
        rules.tables().get(&self.table)?.chains.get(&self.chain)?.rules.get(self.place)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered { at, seen_from } => write!(f, "delivered to {at} from {seen_from}"),
            Self::Passed { by, at, seen_from } => {
                write!(f, "left by {by} to {at} from {seen_from}")
            }
            Self::Refused => f.write_str("refused"),
            Self::Dropped(why) => write!(f, "dropped: {why}"),
            Self::Unanswered { at, seen_from, why } => {
                write!(f, "reached {at} from {seen_from}, but the answer was lost: {why}")
            }
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule => "by a rule",
            Self::Policy => "by a chain's policy",
            Self::Martian => "an address that cannot be there",
            Self::NoRoute => "no route",
            Self::NotForwarded => "the host does not forward",
            Self::HairpinPort => "the bridge port has no hairpin flag",
            Self::PastNat => "it went past the host",
        })
    }
}
