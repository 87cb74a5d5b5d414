//! A drop-in for docker-proxy: the same command line, descriptors and exit codes, by this crate's data path.
//!
//! ```console
//! # dockerd --userland-proxy-path /usr/local/bin/portmap-docker-proxy
//! ```
//!
//! dockerd starts one for each published port, so that what counts is to be small: one thread, and no more memory than
//! is used. It tells nothing on standard error but what keeps it from starting.

mod flags;
mod inherited;
mod proxy;

use std::{env, io::Write, process::ExitCode};

use crate::{
    flags::{Command, USAGE},
    inherited::Status,
    proxy::Proxy,
};

/// Go's `flag` package ends programs with it.
const BAD_FLAGS: u8 = 2;

fn main() -> ExitCode {
    let flags = match flags::parse(env::args().skip(1)) {
        Ok(Command::Proxy(flags)) => flags,
        Ok(Command::Version) => {
            say(&format!("portmap-docker-proxy version {}", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Ok(Command::Help) => {
            eprintln!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(BAD_FLAGS);
        }
    };
    // Before anything else opens a descriptor: it could get these numbers.
    let status = Status::take();
    match Proxy::start(&flags) {
        Ok(proxy) => {
            status.ready();
            proxy.run();
            ExitCode::SUCCESS
        }
        Err(error) => {
            status.failed(&error.to_string());
            eprintln!("portmap-docker-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // Where nobody reads, that is no failure.
    let _ = writeln!(std::io::stdout(), "{line}");
}
