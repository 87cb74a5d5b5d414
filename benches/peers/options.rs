//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{
    groups::{GROUPS, Group},
    peer::Peer,
};

/// Measures published ports beside other programs that publish them.
///
/// Runs in network namespaces of its own, as root or in a user namespace. Figures are medians of the repetitions with
/// the lowest and the highest; x is how many times docker-proxy's figure in the same repetition.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench peers --")]
pub(crate) struct Options {
    /// What to measure; everything if nothing is named.
    #[arg(value_parser = parse_group)]
    groups: Vec<&'static str>,
    /// Only these peers (docker-proxy, portmap..); may be given several times.
    #[arg(long = "peer", value_parser = parse_peer)]
    peers: Vec<Peer>,
    /// How often [default: 5].
    #[arg(long)]
    repetitions: Option<usize>,
    /// How long each run counts, in milliseconds [default: 600].
    #[arg(long)]
    window: Option<u64>,
    /// Two repetitions of 100 ms: to see that it works.
    #[arg(long)]
    quick: bool,
    /// Writes the result to docs/benchmarks.md, and keeps there what was not measured this time.
    #[arg(long)]
    pub(crate) write: bool,
    /// Writes the result as JSON to this file.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn groups(&self) -> impl Iterator<Item = &'static Group> {
        let wanted = |group: &&Group| self.groups.is_empty() || self.groups.contains(&group.name);
        GROUPS.iter().filter(wanted)
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        let wanted = |peer: &Peer| self.peers.is_empty() || self.peers.contains(peer);
        Peer::ALL.into_iter().filter(wanted).collect()
    }

    pub(crate) fn repetitions(&self) -> usize {
        self.repetitions.unwrap_or(if self.quick { 2 } else { 5 }).max(1)
    }

    pub(crate) fn window(&self) -> Duration {
        let window = self.window.unwrap_or(if self.quick { 100 } else { 600 });
        Duration::from_millis(window.max(1))
    }

    /// Before it counts.
    pub(crate) fn warm(&self) -> Duration {
        self.window() / 4
    }
}

fn parse_group(name: &str) -> Result<&'static str, String> {
    let known: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
    known.iter().find(|known| **known == name).copied().ok_or_else(|| known.join(", "))
}

fn parse_peer(name: &str) -> Result<Peer, String> {
    Peer::named(name).ok_or_else(|| Peer::ALL.map(Peer::name).join(", "))
}
