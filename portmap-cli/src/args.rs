//! The command line.

mod command;
mod generate;
mod help;
mod line;
mod rules;
mod target;

use std::{
    fmt::{self, Display, Formatter},
    io::IsTerminal,
    str::FromStr,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use portmap::{proxy::SourceAddress, rules::Network};
use serde::Serialize;
use tracing_subscriber::filter::Targets;

use self::target::TargetArgs;
pub(crate) use self::{
    command::Command,
    generate::{completions, man},
    rules::RulesArgs,
};
use crate::{BoxError, monitor::Style, output, want::Want};

/// Publish container ports on this host, until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "publish", version, after_help = help::behind())]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    /// What to publish: [IP:][HOST[-END]:]PORT[-END][/PROTO], as after Docker's -p, and behind it, for a container of its
    /// own, @ADDR[,ADDR6], @docker:NAME, @pid:PID or @netns:PATH
    #[arg(value_name = "SPEC[@TARGET]", required_unless_present = "dry_run", value_parser = read::<Want>)]
    pub(crate) wants: Vec<Want>,

    /// How to publish: hybrid unless told otherwise where this process may and the containers' networks are known, else proxy
    #[arg(long, value_enum)]
    mode: Option<Mode>,

    /// Who the container is told is calling, with --mode proxy: gateway unless told otherwise
    #[arg(long, value_enum, value_name = "WHO")]
    source: Option<Source>,

    /// Print what would be in force and change nothing; needs no privilege
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print by which ways the ports would be reached, who would serve each, and as whom the container would see its
    /// clients; changes nothing and needs no privilege
    #[arg(long, conflicts_with_all = ["dry_run", "json", "plain"])]
    pub(crate) explain: bool,

    /// Print what happens as JSON, an object a line
    #[arg(long, conflicts_with_all = ["dry_run", "plain"])]
    json: bool,

    /// Print lines also on a terminal, in place of a view that is redrawn
    #[arg(long)]
    plain: bool,

    /// How many whole seconds connections that the proxy serves may go on after Ctrl-C: 1 unless told otherwise (5 is what the
    /// library has)
    #[arg(long, value_name = "SECONDS", value_parser = whole_seconds)]
    drain: Option<u32>,

    /// Tell more on standard error: -v what happens, -vv all details
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(flatten)]
    pub(crate) target: TargetArgs,

    #[command(flatten)]
    pub(crate) rules: RulesArgs,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Both: NAT for outside clients, the proxy for 127.0.0.1, ::1 and containers' calls to this host
    Hybrid,
    /// A userland proxy: needs no privilege; the container sees this host as its client
    Proxy,
    /// NAT in the kernel: needs CAP_NET_ADMIN; the container sees its clients' own addresses
    Rules,
}

impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hybrid => "hybrid",
            Self::Proxy => "proxy",
            Self::Rules => "rules",
        })
    }
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
    /// Finds options that cannot be meant together.
    fn check(&self) -> Result<(), String> {
        let asked = self.asked();
        let by_nat = matches!(asked, Some(Mode::Hybrid | Mode::Rules));
        if self.source.is_some() && by_nat {
            let why = "by NAT a container sees its clients' own addresses";
            return Err(format!("--source is for --mode proxy: {why}"));
        }
        if self.explain && self.source() != SourceAddress::Gateway {
            return Err("--explain is for --source gateway".to_owned());
        }
        let needs_networks = self.explain || self.source() == SourceAddress::Transparent;
        for option in self.rules.given() {
            match (option, asked) {
                ("--loopback", Some(Mode::Hybrid) | None) => {
                    return Err("--loopback is for --mode rules".to_owned());
                }
                ("--network", Some(Mode::Proxy)) if needs_networks => {}
                (_, Some(Mode::Proxy)) => {
                    return Err(format!("{option} is for --mode hybrid and rules"));
                }
                _ => {}
            }
        }
        if asked == Some(Mode::Rules) && self.drain.is_some() {
            let why = "connections that NAT serves do not pass through this tool";
            return Err(format!("--drain is for --mode hybrid and proxy: {why}"));
        }
        if let Some(option) = self.target.given()
            && self.wants.iter().all(|want| want.target.is_some())
        {
            return Err(format!("{option} is for a SPEC without @ADDR, and there is none"));
        }
        match self.wants.is_empty() {
            true if !by_nat => Err("nothing to print: a SPEC is missing".to_owned()),
            true if self.networks().is_empty() => {
                Err("nothing to print: neither a SPEC nor a --network".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The mode that was asked for, in so many words or by an option that only one has; none where it is left open.
    pub(crate) fn asked(&self) -> Option<Mode> {
        match self.mode {
            None if self.source.is_some() => Some(Mode::Proxy),
            None if self.rules.is_about_rules() => Some(Mode::Hybrid),
            mode => mode,
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

    /// Whether nothing is to be done but to print.
    const fn prints_only(&self) -> bool {
        self.dry_run || self.explain
    }

    pub(crate) fn networks(&self) -> &[Network] {
        &self.rules.networks
    }

    pub(crate) fn drain_limit(&self) -> Duration {
        Duration::from_secs(self.drain.unwrap_or(1).into())
    }

    /// How it is told what happens.
    pub(crate) fn style(&self) -> Style {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let terminal = std::io::stdout().is_terminal() && !dumb;
        match (self.json, terminal && !self.plain && self.command.is_none() && !self.prints_only())
        {
            (true, _) => Style::Json,
            (false, true) => Style::Live,
            (false, false) => Style::Plain,
        }
    }

    /// `RUST_LOG` if it is set and makes sense (`LEVEL` or `TARGET=LEVEL`, with commas), else by `-v`.
    pub(crate) fn log_filter(&self) -> Targets {
        let level = match self.verbose {
            0 => "warn",
            1 => "portmap_core=debug,portmap_netfilter=debug,portmap_proxy=debug,info",
            _ => "trace",
        };
        let asked = std::env::var("RUST_LOG").ok().and_then(|asked| asked.parse().ok());
        asked.unwrap_or_else(|| level.parse().unwrap_or_default())
    }
}

fn whole_seconds(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number of whole seconds"))
}

/// A value, or all that is wrong with it on one line: clap prints one level alone.
fn read<T: FromStr<Err: Into<BoxError>>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| output::chain(error.into().as_ref()))
}
