//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use portmap::{Endpoint, PortSpec};
use tracing_subscriber::EnvFilter;

/// Publish container ports on this host, until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "publish", after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to publish: [IP:][HOST[-END]:]PORT[-END][/PROTO], as after Docker's -p
    #[arg(required = true, value_name = "SPEC")]
    pub(crate) specs: Vec<PortSpec>,

    /// The container's address or addresses; without it a small webapp is started to be published
    #[arg(long, value_name = "ADDR[,ADDR6]")]
    pub(crate) to: Option<Endpoint>,

    /// How to publish
    #[arg(long, value_enum, default_value = "proxy")]
    pub(crate) mode: Mode,

    /// How many seconds open connections may go on after Ctrl-C
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    drain: u32,

    /// Tell more on standard error: -v what happens, -vv all details
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  publish 8080:80                        a webapp, on port 8080 of every address of this host
  publish 127.0.0.1:8080:80 --to 172.17.0.2
                                         a container's port 80, on loopback only
  publish 8000-8010:9000-9010 --to 172.17.0.2,fd00:17::2
                                         eleven ports, of a container with two addresses
  publish 80 --to 172.17.0.2             on a free port of this host's choice";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// A userland proxy: needs no privilege; the container sees this host as its client
    Proxy,
}

impl Args {
    pub(crate) fn drain_limit(&self) -> Duration {
        Duration::from_secs(self.drain.into())
    }

    /// `RUST_LOG` where it is set, else by `-v`.
    pub(crate) fn log_filter(&self) -> EnvFilter {
        let level = match self.verbose {
            0 => "warn",
            1 => "portmap_core=debug,portmap_proxy=debug,info",
            _ => "trace",
        };
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level))
    }
}
