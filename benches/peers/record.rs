//! The result as it is kept.

use std::{collections::BTreeMap, fs, process::Command};

use portmap::BoxError;
use serde::{Deserialize, Serialize};

use crate::{
    load::Values,
    options::Options,
    peer::{Peer, locate},
    stats::Spread,
};

/// Groups by name, each as it was measured last.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) groups: BTreeMap<String, GroupRecord>,
}

impl Record {
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|text| text + "\n")
    }
}

/// All that was measured of a group.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct GroupRecord {
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) versions: Vec<String>,
    pub(crate) repetitions: usize,
    pub(crate) window_ms: u128,
    pub(crate) missing: Vec<String>,
    /// By cell and peer: a run for each repetition, `None` where it failed.
    pub(crate) cells: BTreeMap<String, BTreeMap<String, Vec<Option<Values>>>>,
}

impl GroupRecord {
    pub(crate) fn new(options: &Options) -> Result<Self, BoxError> {
        Ok(Self {
            date: first_line("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
            machine: machine(),
            versions: versions(),
            repetitions: options.repetitions(),
            window_ms: options.window().as_millis(),
            missing: Vec::new(),
            cells: BTreeMap::new(),
        })
    }

    pub(crate) fn add(
        &mut self,
        cell: &str,
        peer: Peer,
        repetition: usize,
        values: Option<Values>,
    ) {
        let cell = self.cells.entry(cell.to_owned()).or_default();
        let runs = cell.entry(peer.name().to_owned()).or_default();
        runs.resize(repetition, None);
        runs.push(values.map(|values| {
            // JSON has no others.
            let finite = values.into_iter().filter(|(_, value)| value.is_finite());
            finite.map(|(key, value)| (key, rounded(value))).collect()
        }));
    }

    /// A figure of each repetition.
    fn figures(&self, cell: &str, peer: Peer, key: &str) -> Vec<Option<f64>> {
        let runs = self.cells.get(cell).and_then(|cell| cell.get(peer.name()));
        let figure = |run: &Option<Values>| run.as_ref()?.get(key).copied();
        runs.into_iter().flatten().map(figure).collect()
    }

    /// Whether there is anything to tell of a figure: that none was lost needs no table.
    pub(crate) fn has(&self, key: &str) -> bool {
        let runs = self.cells.values().flat_map(BTreeMap::values).flatten().flatten();
        runs.filter_map(|run| run.get(key)).any(|figure| *figure != 0.0)
    }

    pub(crate) fn spread(&self, cell: &str, peer: Peer, key: &str) -> Option<Spread> {
        Spread::of(self.figures(cell, peer, key).into_iter().flatten())
    }

    /// How many times another peer's figure in the same repetition.
    pub(crate) fn ratio(&self, cell: &str, peer: Peer, base: Peer, key: &str) -> Option<Spread> {
        let pairs = self.figures(cell, peer, key).into_iter().zip(self.figures(cell, base, key));
        Spread::of(pairs.filter_map(|(figure, base)| Some(figure? / base.filter(|b| *b != 0.0)?)))
    }
}

/// Five digits: the rest is chance.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model);
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} CPUs ({model}), Linux {}", kernel.trim())
}

fn versions() -> Vec<String> {
    [("dockerd", "--version"), ("haproxy", "-v"), ("socat", "-V"), ("iptables", "--version")]
        .into_iter()
        .filter_map(|(program, option)| {
            let program = locate(program)?;
            let line = first_line(program.to_str()?, &[option])?;
            // haproxy goes on with a place on the net, socat begins with its author's.
            Some(line.split(" - ").next().unwrap_or_default().to_owned())
        })
        .chain([format!("portmap {}", env!("CARGO_PKG_VERSION"))])
        .collect()
}

/// The first line with a digit in it that a program prints: some begin with their author.
fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.contains("by Gerhard"));
    lines.map(str::to_owned).find(|line| line.contains(|c: char| c.is_ascii_digit()))
}
