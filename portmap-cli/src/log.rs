//! Where the log goes: to standard error, or above a view that is redrawn.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _};

use crate::{
    args::Args,
    monitor::{Monitor, Style},
};

pub(crate) fn start(args: &Args, monitor: &Monitor) {
    let filtered = registry().with(args.log_filter());
    // Of an entry that cannot be written it would say so where that cannot be written either, and panic.
    let lines = fmt::layer().with_target(false).log_internal_errors(false);
    // A log that goes elsewhere than the view is nothing to it.
    if args.style() == Style::Live && io::stderr().is_terminal() {
        let monitor = monitor.clone();
        let lines = lines.with_ansi(false).with_writer(move || Above(monitor.clone()));
        filtered.with(lines).init();
    } else {
        // Escapes are for a terminal, and not for who has asked for none (no-color.org).
        let is_plain = env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        let lines = lines.with_ansi(io::stderr().is_terminal() && !is_plain);
        filtered.with(lines.with_writer(io::stderr)).init();
    }
}

/// Each write is an entry.
struct Above(Monitor);

impl Write for Above {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.0.note(String::from_utf8_lossy(entry).trim_end());
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
