//! What becomes of a call.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use portmap_core::Protocol;

use super::Way;

/// What became of a call; `A` says whom the container takes the caller for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<A = IpAddr> {
    /// The right one answered, and said who seems to have called.
    Delivered(A),
    /// The caller was told at once that nobody serves this.
    Refused,
    /// The caller heard nothing.
    Dropped,
    /// Something else, that should never be: a reset, the answer of the wrong container.
    Other(String),
}

/// Whom a container takes a caller for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeenAs {
    /// The address of its own network's bridge.
    Gateway,
    /// The address that the caller has.
    Client,
}

/// A call, what was expected of it and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cell {
    /// From where to where.
    pub way: Way,
    /// Over which protocol.
    pub protocol: Protocol,
    /// What its column says of it.
    pub expected: Outcome<SeenAs>,
    /// What a model of the column says of it, where there is one.
    pub predicted: Option<Outcome>,
    /// What it came to in the kernel.
    pub observed: Outcome,
    /// How long the caller had to wait to know.
    pub took: Duration,
}

impl Outcome<SeenAs> {
    /// The same, with the address for a way.
    pub fn on(&self, way: &Way) -> Outcome {
        match self {
            Self::Delivered(SeenAs::Gateway) => Outcome::Delivered(way.gateway),
            Self::Delivered(SeenAs::Client) => Outcome::Delivered(way.from),
            Self::Refused => Outcome::Refused,
            Self::Dropped => Outcome::Dropped,
            Self::Other(what) => Outcome::Other(what.clone()),
        }
    }
}

impl Outcome {
    /// In words that fit a way: `gateway`, `client`, or an address that is neither.
    pub(super) fn in_words(&self, way: &Way) -> String {
        match self {
            Self::Delivered(ip) if *ip == way.gateway => "gateway".to_owned(),
            Self::Delivered(ip) if *ip == way.from => "client".to_owned(),
            other => other.to_string(),
        }
    }
}

impl<A: fmt::Display> fmt::Display for Outcome<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(seen) => write!(f, "seen as {seen}"),
            Self::Refused => f.write_str("refused"),
            Self::Dropped => f.write_str("dropped"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl Cell {
    /// Whether it is as expected, and the prediction too.
    pub fn is_right(&self) -> bool {
        let expected = self.expected.on(&self.way);
        self.observed == expected && self.predicted.as_ref().is_none_or(|it| *it == expected)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, protocol, .. } = self;
        write!(f, "{}, {}/{protocol} from {}: ", way.path, way.to, way.from)?;
        write!(f, "expected {}, observed {}", self.expected.on(way), self.observed)?;
        match &self.predicted {
            Some(predicted) => write!(f, ", predicted {predicted}"),
            None => Ok(()),
        }
    }
}
