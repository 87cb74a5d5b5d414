//! When a run counts.

use std::time::Instant;

use super::{Run, Values};
use crate::meter::Reading;

/// The part of a run that counts: after the warm-up, for as long as the window.
pub(super) struct Window<'a> {
    run: &'a Run,
    opens: Instant,
    begin: Option<Reading>,
}

impl<'a> Window<'a> {
    pub(super) fn new(run: &'a Run) -> Self {
        Self { run, opens: Instant::now() + run.warm, begin: None }
    }

    /// One that has opened.
    pub(super) fn opened(run: &'a Run) -> Self {
        Self { run, opens: Instant::now(), begin: Some(run.meter.read()) }
    }

    /// Whether what is done at this instant counts, or `None` when the window has closed.
    pub(super) fn counts(&mut self, now: Instant) -> Option<bool> {
        match self.begin {
            Some(begin) => (now < begin.at + self.run.window).then_some(true),
            None if now < self.opens => Some(false),
            None => {
                self.begin = Some(self.run.meter.read());
                Some(true)
            }
        }
    }

    /// The figures: a rate a second, and the CPU time of an operation in nanoseconds.
    pub(super) fn close(self, operations: f64) -> Values {
        let end = self.run.meter.read();
        let begin = self.begin.unwrap_or(end);
        let mut values = Values::new();
        values.insert("rate".to_owned(), operations / (end.at - begin.at).as_secs_f64());
        if !self.run.meter.is_empty() && operations > 0.0 {
            let cpu = end.cpu.saturating_sub(begin.cpu).as_nanos() as f64;
            values.insert("cpu".to_owned(), cpu / operations);
        }
        values
    }
}
