//! The command line.

mod rules;

use std::{str::FromStr, time::Duration};

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use portmap::{Endpoint, proxy::SourceAddress, rules::Network};
use tracing_subscriber::EnvFilter;

use crate::{BoxError, output, want::Want};

pub(crate) use self::rules::RulesArgs;

/// Publish container ports on this host, until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "publish", after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to publish: [IP:][HOST[-END]:]PORT[-END][/PROTO], as after Docker's -p, and @ADDR[,ADDR6] behind it for a
    /// container of its own
    #[arg(value_name = "SPEC[@ADDR]", required_unless_present = "dry_run", value_parser = read::<Want>)]
    pub(crate) wants: Vec<Want>,

    /// The container of each SPEC without @ADDR; without this a small webapp is started to be published
    #[arg(long, value_name = "ADDR[,ADDR6]")]
    pub(crate) to: Option<Endpoint>,

    /// How to publish
    #[arg(long, value_enum, default_value = "proxy")]
    pub(crate) mode: Mode,

    /// Who the container is told is calling, with --mode proxy: gateway unless told otherwise
    #[arg(long, value_enum, value_name = "WHO")]
    source: Option<Source>,

    /// Print what would be in force and change nothing; needs no privilege
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// How many seconds open connections may go on after Ctrl-C: 1 unless told otherwise; with --mode proxy
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u32>,

    /// Tell more on standard error: -v what happens, -vv all details
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(flatten)]
    pub(crate) rules: RulesArgs,
}

const EXAMPLES: &str = "\
Examples:
  publish 8080:80                        a webapp, on port 8080 of every address of this host
  publish 127.0.0.1:8080:80 --to 172.17.0.2
                                         a container's port 80, on loopback only
  publish 8000-8010:9000-9010 --to 172.17.0.2,fd00:17::2
                                         eleven ports, of a container with two addresses
  publish 80 --to 172.17.0.2             on a free port of this host's choice
  publish 8080:80@172.17.0.2 8081:80@172.17.0.3
                                         a port of each of two containers
  publish --source proxy-v2 8080:80      a webapp that reads its clients' addresses from the PROXY protocol
  publish --source transparent --network docker0=172.17.0.0/16 8080:80@172.17.0.2
                                         a container of docker0 that sees its clients' addresses by itself
  publish --mode rules 8080:80           a webapp, by NAT in the kernel: it sees its clients' own addresses
  publish --mode rules --network docker0=172.17.0.0/16 8080:80@172.17.0.2 --dry-run
                                         the rules for a container of docker0, and nothing done";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A userland proxy: needs no privilege; the container sees this host as its client
    Proxy,
    /// NAT in the kernel: needs CAP_NET_ADMIN; the container sees its clients' own addresses
    Rules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// This host, whoever calls
    Gateway,
    /// The client, by a line of text in front of each connection
    ProxyV1,
    /// The client, in binary in front of each connection and each datagram
    ProxyV2,
    /// The client, whose address this host speaks from: needs CAP_NET_ADMIN, and --network for containers with @ADDR or --to
    Transparent,
}

impl Args {
    /// Reads the command line; where that makes no sense, says why and ends the process.
    pub(crate) fn read() -> Self {
        let args = Self::parse();
        if let Err(message) = args.check() {
            Self::command().error(ErrorKind::ArgumentConflict, message).exit();
        }
        args
    }

    /// Finds options that cannot be meant together.
    fn check(&self) -> Result<(), String> {
        let given = self.rules.first_given();
        let needs_networks =
            self.mode == Mode::Proxy && self.source() == SourceAddress::Transparent;
        match (self.mode, given, self.drain) {
            _ if self.mode == Mode::Rules && self.source.is_some() => {
                let why = "by NAT a container sees its clients' own addresses";
                return Err(format!("--source is for --mode proxy: {why}"));
            }
            (_, Some("--network"), _) if needs_networks => {}
            (Mode::Proxy, Some(option), _) => return Err(format!("{option} is for --mode rules")),
            (Mode::Rules, _, Some(_)) => {
                let why = "connections that NAT serves do not pass through this tool";
                return Err(format!("--drain is for --mode proxy: {why}"));
            }
            _ => {}
        }
        if let Some(endpoint) = self.to
            && self.wants.iter().all(|want| want.to.is_some())
        {
            return Err(format!("--to {endpoint} is for a SPEC without @ADDR, and there is none"));
        }
        match (self.wants.is_empty(), self.mode) {
            (true, Mode::Proxy) => Err("nothing to print: a SPEC is missing".to_owned()),
            (true, Mode::Rules) if self.rules.networks.is_empty() => {
                Err("nothing to print: neither a SPEC nor a --network".to_owned())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn source(&self) -> SourceAddress {
        match self.source {
            None | Some(Source::Gateway) => SourceAddress::Gateway,
            Some(Source::ProxyV1) => SourceAddress::ProxyProtocolV1,
            Some(Source::ProxyV2) => SourceAddress::ProxyProtocolV2,
            Some(Source::Transparent) => SourceAddress::Transparent,
        }
    }

    /// Whether the webapp has to read a header.
    pub(crate) fn is_headed(&self) -> bool {
        matches!(self.source, Some(Source::ProxyV1 | Source::ProxyV2))
    }

    pub(crate) fn networks(&self) -> &[Network] {
        &self.rules.networks
    }

    pub(crate) fn drain_limit(&self) -> Duration {
        Duration::from_secs(self.drain.unwrap_or(1).into())
    }

    /// `RUST_LOG` where it is set, else by `-v`.
    pub(crate) fn log_filter(&self) -> EnvFilter {
        let level = match self.verbose {
            0 => "warn",
            1 => "portmap_core=debug,portmap_proxy=debug,portmap_rules=debug,info",
            _ => "trace",
        };
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level))
    }
}

/// A value, or all that is wrong with it on one line: clap prints one level alone.
fn read<T: FromStr<Err: Into<BoxError>>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| output::chain(error.into().as_ref()))
}
