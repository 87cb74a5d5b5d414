//! `docs/rules.md`.

use std::{collections::BTreeSet, fmt::Write as _};

use portmap_rules::{Layout, Purpose, Ruleset};

use super::scenes::{EXAMPLES, Example, FIRST};

const TOP: &str = "\
# The rules

What `portmap` puts in force, and why each rule exists. This page is generated from the rules that the compiler
makes, and a test fails when it drifts: `PORTMAP_BLESS=1 cargo test -p portmap-rules --test golden` writes it anew.

Both layouts do the same to every packet; a property test holds them to it. The iptables layout has the chains that
Docker's bridge networks have, so that those who know the one can read the other. The nftables layout is one table,
whose rules stay as they are while sets and maps change.

";

/// What the sets of the nftables layout hold; a 4 or 6 for the family ends their names.
const SETS: [(&str, &str); 20] = [
    ("bridges", "the networks that are not internal"),
    ("within", "whether containers of one network talk to each other"),
    ("isolated", "networks that other networks don't reach"),
    ("protected", "networks that are reached by published ports alone"),
    ("routed", "networks without NAT"),
    (
        "inside",
        "from where containers of a subnet may be reached directly: their bridge, trusted interfaces",
    ),
    ("published, published-ranges", "container ports that are reached through NAT"),
    ("routed-ports, routed-port-ranges", "container ports that are open in routed networks"),
    ("on-any", "host ports on every address of the host, and what they lead to"),
    ("on-any-ranges", "the same for ranges that keep their numbers: the address alone"),
    ("on-addr", "host ports on one address of the host"),
    ("on-addr-ranges", "the same for ranges that keep their numbers"),
    ("host-ports", "host ports on every address of the host, for packets that NAT passes by"),
    ("host-port-ranges", "the same for ranges"),
    ("host-addr-ports", "host ports on one address of the host, for packets that NAT passes by"),
    ("host-addr-port-ranges", "the same for ranges"),
    ("loopback", "host ports on an address of 127.0.0.0/8"),
    ("loopback-ranges", "the same for ranges"),
    ("own-ports", "published ports as the container itself would call them"),
    ("own-port-ranges", "the same for ranges"),
];

pub(crate) fn text() -> String {
    let mut text = TOP.to_owned();
    write(&mut text).expect("a string takes all");
    text
}

fn write(text: &mut String) -> std::fmt::Result {
    writeln!(text, "## {}\n\n{}\n", title(&FIRST), FIRST.about)?;
    for layout in [Layout::Iptables, Layout::Nftables] {
        let rules = FIRST.rules(layout);
        writeln!(text, "### In {}\n\n```\n{rules}```\n", word(layout))?;
        for (id, table) in rules.tables() {
            for (name, chain) in table.chains.iter().filter(|(_, chain)| !chain.rules.is_empty()) {
                writeln!(text, "Table {id}, chain {name}:\n")?;
                for rule in &chain.rules {
                    writeln!(text, "* `{}`  \n  {}", rule.text(layout), rule.purpose)?;
                }
                writeln!(text)?;
            }
        }
    }
    writeln!(
        text,
        "Sets and maps of the nftables layout; each exists as long as it has elements:\n"
    )?;
    for (names, meaning) in SETS {
        writeln!(text, "* {names}: {meaning}")?;
    }
    writeln!(text, "\n## What each option changes\n")?;
    writeln!(
        text,
        "Each is compared with the rules above: `-` is gone, `+` is new. Rules that are new in kind are explained below.\n"
    )?;
    EXAMPLES.iter().skip(1).try_for_each(|example| option(text, example))
}

fn option(text: &mut String, example: &Example) -> std::fmt::Result {
    writeln!(text, "### {}\n\n{}\n", title(example), example.about)?;
    let mut why = BTreeSet::new();
    for layout in [Layout::Iptables, Layout::Nftables] {
        let (first, rules) = (FIRST.rules(layout), example.rules(layout));
        let (old, new) = (first.to_string(), rules.to_string());
        writeln!(text, "In {}:\n\n```diff", word(layout))?;
        let mut here = "";
        for (sign, place, line) in differences(&old, &new) {
            if place != here {
                writeln!(text, "@@ {place} @@")?;
                here = place;
            }
            writeln!(text, "{sign} {line}")?;
        }
        writeln!(text, "```\n")?;
        let known: BTreeSet<_> = purposes(&first).collect();
        why.extend(purposes(&rules).filter(|purpose| !known.contains(purpose)));
    }
    for purpose in &why {
        writeln!(text, "* {purpose}")?;
    }
    if !why.is_empty() {
        writeln!(text)?;
    }
    Ok(())
}

fn purposes(rules: &Ruleset) -> impl Iterator<Item = Purpose> {
    let chains = rules.tables().values().flat_map(|table| table.chains.values());
    chains.flat_map(|chain| chain.rules.iter().map(|rule| rule.purpose))
}

/// Lines of a longest common subsequence are left out; the others stand in their order, each with the place where
/// it stands.
fn differences<'a>(old: &'a str, new: &'a str) -> Vec<(char, &'a str, &'a str)> {
    let (old, new) = (placed(old), placed(new));
    let mut longest = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, one) in old.iter().enumerate().rev() {
        for (j, two) in new.iter().enumerate().rev() {
            longest[i][j] = if one == two {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && longest[i + 1][j] >= longest[i][j + 1] {
            lines.push(('-', old[i].0, old[i].1));
            i += 1;
        } else {
            lines.push(('+', new[j].0, new[j].1));
            j += 1;
        }
    }
    lines
}

/// The lines that say something, each with its table, set or chain.
fn placed(listing: &str) -> Vec<(&str, &str)> {
    let mut place = "";
    let mut lines = Vec::new();
    for line in listing.lines() {
        let text = line.trim();
        let opens = text.strip_prefix("# ").or(text.strip_suffix(" {"));
        match opens {
            Some(name) => place = name,
            None if text.is_empty() || text == "}" || text.starts_with("-P") => {}
            None => lines.push((place, text)),
        }
    }
    lines
}

fn title(example: &Example) -> String {
    let words = example.name.replace('-', " ");
    let words = words.replace("ipv6", "IPv6").replace("icc", "ICC");
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

const fn word(layout: Layout) -> &'static str {
    match layout {
        Layout::Nftables => "nftables",
        Layout::Iptables => "iptables",
    }
}
