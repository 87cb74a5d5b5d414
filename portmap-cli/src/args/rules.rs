//! What can be chosen for NAT in the kernel.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use portmap::rules::{
    ForeignDrop, Hairpin, Layout, Loopback, Network, Policy, Prefix, UnknownChoice,
};

use super::{Mode, read};

/// Options that are about rules.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for --mode hybrid and rules")]
pub(crate) struct RulesArgs {
    /// The rule language: nftables unless told otherwise
    #[arg(long, value_name = "LANGUAGE", value_parser = word::<Layout, 2>(["nftables", "iptables"]))]
    backend: Option<Layout>,

    /// With --mode rules: who serves this host's connections to 127.0.0.1 and containers' calls to this host: nat unless told
    /// otherwise, or proxy to leave them to a proxy of your own beside these rules (--mode hybrid has one)
    #[arg(long, value_name = "WAY", value_parser = word::<Loopback, 2>(["proxy", "nat"]))]
    loopback: Option<Loopback>,

    /// The prefix of all names of chains and tables: PORTMAP unless told otherwise. One tool a prefix can run at a time
    #[arg(long, value_name = "NAME")]
    prefix: Option<Prefix>,

    /// How an answer between two containers of one network finds back: masquerade (unless told otherwise, with
    /// nftables), or bridge (with iptables), which needs br_netfilter and keeps the caller's address
    #[arg(long, value_name = "WAY", value_parser = word::<Hairpin, 2>(["masquerade", "bridge"]))]
    hairpin: Option<Hairpin>,

    /// Where somebody else drops what is forwarded, as dockerd's iptables do: leave it alone and say so (the default), open a
    /// way through iptables, or don't look
    #[arg(long, value_name = "WHAT", value_parser = word::<ForeignDrop, 3>(["leave", "open", "ignore"]))]
    foreign_drop: Option<ForeignDrop>,

    /// A network where containers are:
    /// BRIDGE=SUBNET[,SUBNET6][,gateway=IP][,icc=off][,internal][,mode=nat|nat-unprotected|routed].
    /// As often as there are networks, oldest first
    #[arg(long = "network", value_name = "BRIDGE=SUBNET", value_parser = read::<Network>)]
    pub(crate) networks: Vec<Network>,
}

impl RulesArgs {
    /// The policy: what isn't chosen is the library's default, but that iptables has the tables that people know.
    pub(crate) fn policy(&self, mode: Mode) -> Policy {
        let loopback = match mode {
            Mode::Hybrid => Loopback::Proxy,
            Mode::Proxy | Mode::Rules => self.loopback.unwrap_or_default(),
        };
        let layout = self.backend.unwrap_or_default();
        let hairpin = match layout {
            Layout::Nftables => Hairpin::Masquerade,
            Layout::Iptables => Hairpin::Bridge,
        };
        Policy {
            layout,
            loopback,
            hairpin: self.hairpin.unwrap_or(hairpin),
            prefix: self.prefix.clone().unwrap_or_default(),
            foreign_drop: self.foreign_drop.unwrap_or_default(),
            ..Policy::default()
        }
    }

    /// Whether one of them is there that means nothing without rules.
    pub(super) fn is_about_rules(&self) -> bool {
        self.given().any(|option| !matches!(option, "--network" | "--loopback"))
    }

    /// Those of these options that are on the command line.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("--backend", self.backend.is_some()),
            ("--loopback", self.loopback.is_some()),
            ("--prefix", self.prefix.is_some()),
            ("--hairpin", self.hairpin.is_some()),
            ("--foreign-drop", self.foreign_drop.is_some()),
            ("--network", !self.networks.is_empty()),
        ];
        given.into_iter().filter_map(|(option, is_given)| is_given.then_some(option))
    }
}

fn word<T, const N: usize>(words: [&'static str; N]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = UnknownChoice> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse::<T>())
}
