//! Where the log goes: to standard error, or above a view that is redrawn.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use crate::{
    args::Args,
    monitor::{Monitor, Style},
};

pub(crate) fn start(args: &Args, monitor: &Monitor) {
    let log = tracing_subscriber::fmt().with_env_filter(args.log_filter()).with_target(false);
    // Of an entry that cannot be written it would say so where that cannot be written either, and panic.
    let log = log.log_internal_errors(false);
    // A log that goes elsewhere than the view is nothing to it.
    if args.style() == Style::Live && io::stderr().is_terminal() {
        let monitor = monitor.clone();
        log.with_ansi(false).with_writer(move || Above(monitor.clone())).init();
    } else {
        // Escapes are for a terminal, and not for who has asked for none (no-color.org).
        let is_plain = env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        log.with_ansi(io::stderr().is_terminal() && !is_plain).with_writer(io::stderr).init();
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
