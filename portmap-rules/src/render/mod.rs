//! Rules as text.

mod iptables;
mod listing;
mod nft_rule;
mod nft_script;
mod nft_set;
mod nftables;
mod restore;

use std::fmt;

use iptables::Arguments;
use nft_rule::RuleText;

use crate::{Layout, Rule, Ruleset, TableFamily, Transaction};

impl fmt::Display for Ruleset {
    /// What the rule language's own tool would list.
    ///
    /// For iptables a line `# ipv4 filter` for each table, and what `iptables -t filter -S` prints: of a built-in
    /// chain the owner's rules alone. For nftables what `nft list table inet NAME` prints, with elements in order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables().iter().try_for_each(|(id, table)| match self.layout() {
            Layout::Iptables => {
                writeln!(f, "# {id}")?;
                listing::write(f, table)
            }
            Layout::Nftables => nftables::write(f, id, table),
        })
    }
}

impl Rule {
    /// The rule in a language's words, without its chain: `-i docker0 -j ACCEPT`, `iifname "docker0" accept`.
    pub const fn text(&self, layout: Layout) -> impl fmt::Display {
        InWords(layout, self)
    }
}

struct Script<'a>(&'a Transaction);

impl fmt::Display for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        nft_script::write(f, self.0)
    }
}

struct InWords<'a>(Layout, &'a Rule);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(layout, rule) = *self;
        match layout {
            Layout::Iptables => Arguments(rule).fmt(f),
            Layout::Nftables => RuleText(rule).fmt(f),
        }
    }
}

impl Transaction {
    /// What `nft -f` reads to make the changes, all or none: for people, and to compare a backend with.
    pub const fn to_nft(&self) -> impl fmt::Display {
        Script(self)
    }

    /// What `iptables-restore --noflush` (`ip6tables-restore` for IPv6) reads to make the changes in one family's
    /// tables: one commit a table. Where guards are added, raw comes first and nat last, so that nothing is open
    /// before it is guarded or led anywhere before it may arrive; else the other way round.
    ///
    /// Empty where nothing changes. A chain of [`Ownership::Kept`](crate::Ownership::Kept) is created where
    /// `creates_kept` says so and never touched otherwise: `-N` fails where it exists.
    pub fn to_restore(&self, family: TableFamily, creates_kept: bool) -> String {
        restore::text(self, family, creates_kept)
    }
}
