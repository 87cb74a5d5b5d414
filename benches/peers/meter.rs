//! What a peer's processes use: CPU, memory, descriptors.

use std::{
    fs,
    time::{Duration, Instant},
};

/// A peer's process and those that it started; none for what the kernel does alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    roots: Vec<u32>,
    /// The first process only holds the others (`unshare`), and its memory is none of theirs.
    held: bool,
}

/// What was used up to an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    pub(crate) cpu: Duration,
}

/// Memory of all processes, in KiB, and their open descriptors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// The proportional share: what several processes share is divided among them.
    pub(crate) pss: f64,
    /// What belongs to them alone.
    pub(crate) private: f64,
    pub(crate) descriptors: f64,
}

impl Meter {
    pub(crate) fn new(roots: Vec<u32>, held: bool) -> Self {
        Self { roots, held }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// CPU time of all threads, by `schedstat` (nanoseconds), and of children that have ended (which the kernel only
    /// tells in ticks of 10 ms). What the kernel does for a packet is counted where it interrupts the process.
    pub(crate) fn read(&self) -> Reading {
        let mut cpu = Duration::ZERO;
        for process in self.processes() {
            for thread in numbers(&format!("/proc/{process}/task")) {
                let path = format!("/proc/{process}/task/{thread}/schedstat");
                let text = fs::read_to_string(path).unwrap_or_default();
                let ran = text.split_whitespace().next().and_then(|field| field.parse().ok());
                cpu += Duration::from_nanos(ran.unwrap_or_default());
            }
            cpu += ended_children(process);
        }
        Reading { at: Instant::now(), cpu }
    }

    pub(crate) fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for process in self.processes() {
            if self.held && self.roots.contains(&process) {
                continue;
            }
            let rollup =
                fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
            for line in rollup.lines() {
                let mut fields = line.split_whitespace();
                let name = fields.next().unwrap_or_default();
                let kib: f64 = fields.next().and_then(|field| field.parse().ok()).unwrap_or(0.0);
                match name {
                    "Pss:" => memory.pss += kib,
                    "Private_Clean:" | "Private_Dirty:" => memory.private += kib,
                    _ => {}
                }
            }
            memory.descriptors += numbers(&format!("/proc/{process}/fd")).len() as f64;
        }
        memory
    }

    fn processes(&self) -> Vec<u32> {
        let mut found = self.roots.clone();
        let mut at = 0;
        while let Some(process) = found.get(at) {
            for thread in numbers(&format!("/proc/{process}/task")) {
                let path = format!("/proc/{}/task/{thread}/children", found[at]);
                let text = fs::read_to_string(path).unwrap_or_default();
                found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            at += 1;
        }
        found
    }
}

/// The entries of a folder that are numbers.
fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The fields `cutime` and `cstime` of `/proc/PID/stat`.
fn ended_children(process: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
