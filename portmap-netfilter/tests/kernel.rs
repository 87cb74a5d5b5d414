//! What the tools make of rendered rules, in a network namespace that ends with each comparison.

#[path = "../../portmap-rules/tests/common/mod.rs"]
mod common;

use std::{
    io::Write as _,
    process::{Command, ExitCode, Stdio},
};

use common::{
    path,
    random::{rules, scene},
    scenes::EXAMPLES,
};
use portmap_rules::{Layout, Ruleset, TableFamily};
use portmap_testkit::{Need, Suite};
use proptest::{prelude::*, test_runner::Config};

fn main() -> ExitCode {
    let mut suite = Suite::from_args();
    let mut test = |name: &str, needs: &[Need], body: fn()| {
        suite.test(
            name,
            &[&[Need::Netns, Need::Tool("unshare")], needs].concat(),
            async move || {
                body();
                Ok(())
            },
        );
    };
    let nft = [Need::Tool("nft")];
    test(
        "nft_lists_every_example_as_it_was_rendered",
        &nft,
        nft_lists_every_example_as_it_was_rendered,
    );
    test(
        "nft_follows_from_every_example_to_the_next_and_to_nothing",
        &nft,
        nft_follows_from_every_example_to_the_next_and_to_nothing,
    );
    test(
        "nft_lists_every_scene_as_it_was_rendered",
        &nft,
        nft_lists_every_scene_as_it_was_rendered,
    );
    test("nft_follows_a_transaction", &nft, nft_follows_a_transaction);
    let iptables = [Need::Tool("iptables"), Need::Tool("iptables-legacy")];
    test(
        "both_kinds_of_iptables_list_every_example_as_it_was_rendered_on_the_way_to_the_next",
        &iptables,
        both_kinds_of_iptables_list_every_example_as_it_was_rendered_on_the_way_to_the_next,
    );
    test(
        "both_kinds_of_iptables_follow_a_transaction",
        &iptables,
        both_kinds_of_iptables_follow_a_transaction,
    );
    suite.run()
}

/// Runs a script in a namespace of its own; what it reads is given, what it prints comes back.
fn in_namespace(script: &str, input: &str) -> String {
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-euc", script])
        .env("PATH", path())
        // The old iptables locks a file under /run, where an ordinary user may not write; one below /tmp is another user's
        // the next time. Anything that can be opened can be locked.
        .env("XTABLES_LOCKFILE", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare runs");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(input.as_bytes()).expect("the script reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the script ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{input}\n{stderr}");
    String::from_utf8(output.stdout).expect("the tools print text")
}

/// nft lists the elements of a hash in no order, one a line; here each set's are sorted.
fn in_order(listing: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut elements: Option<Vec<&str>> = None;
    for line in listing.lines() {
        let line = line.trim();
        let element = line.strip_prefix("elements = {").unwrap_or(line);
        if elements.is_some() || element != line {
            let open = elements.get_or_insert_default();
            open.extend(element.trim_end_matches('}').split(',').map(str::trim));
            if line.ends_with('}') {
                open.retain(|element| !element.is_empty());
                open.sort_unstable();
                lines.extend(open.drain(..).map(str::to_owned));
                elements = None;
            }
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

fn nft_lists_what_it_was_given(rules: &Ruleset) {
    let text = rules.to_string();
    if !text.is_empty() {
        let listed = in_namespace("nft -f -; nft list table inet portmap", &text);
        assert_eq!(in_order(&listed), in_order(&text));
    }
}

/// Loads `old`, goes on to `new` by a transaction, and compares what nft lists block by block: the order of chains is
/// that of their making.
fn nft_follows(old: &Ruleset, new: &Ruleset) {
    let there = Ruleset::diff(&Ruleset::empty(Layout::Nftables), old).to_nft().to_string();
    let script = format!("{there}END\nnft -f - <<'END'\n{}END\n", Ruleset::diff(old, new).to_nft());
    let listed = in_namespace(&format!("nft -f - <<'END'\n{script}nft list ruleset"), "");
    let blocks = |listing: &str| {
        let table = listing.split_once("{\n").map_or("", |(_, body)| body).trim_end();
        let body = table.strip_suffix('}').unwrap_or(table);
        let mut blocks: Vec<_> = body.split("\n\n").map(in_order).collect();
        blocks.sort_unstable();
        blocks
    };
    assert_eq!(blocks(&listed), blocks(&new.to_string()), "{script}");
}

/// Applies the way from nothing to `old` and on to `new`, and returns what the tables list: as [`Ruleset`] does.
fn iptables_lists(variant: &str, old: &Ruleset, new: &Ruleset) -> String {
    let empty = Ruleset::empty(Layout::Iptables);
    let (there, on) = (Ruleset::diff(&empty, old), Ruleset::diff(old, new));
    let mut script = String::new();
    for (family, tool) in [(TableFamily::Ipv4, "iptables"), (TableFamily::Ipv6, "ip6tables")] {
        let restore = format!("{tool}-{variant}-restore --noflush --wait");
        let is_there = old.tables().keys().any(|id| id.family == family);
        for text in [there.to_restore(family, true), on.to_restore(family, !is_there)] {
            script += &format!("{restore} <<'END'\n{text}END\n");
        }
        for table in ["filter", "nat", "raw"] {
            script += &format!("echo '# {family} {table}'; {tool}-{variant} -w -t {table} -S\n");
        }
    }
    in_namespace(&script, "")
}

/// The listing's sections that say more than a policy; a person's chain outlives us.
fn sections(listing: &str) -> String {
    let sections = listing.split_inclusive('\n').fold(Vec::<String>::new(), |mut all, line| {
        match all.last_mut() {
            Some(section) if !line.starts_with('#') => section.push_str(line),
            _ => all.push(line.to_owned()),
        }
        all
    });
    let kept = ["# ", "-P ", "-N PORTMAP-USER", "-A PORTMAP-USER -j RETURN"];
    let says_more = |section: &String| {
        section.lines().any(|line| !kept.iter().any(|start| line.starts_with(start)))
    };
    sections.into_iter().filter(says_more).collect()
}

fn iptables_lists_what_it_was_given(old: &Ruleset, new: &Ruleset) {
    for variant in ["nft", "legacy"] {
        let listed = iptables_lists(variant, old, new);
        assert_eq!(sections(&listed), new.to_string(), "{variant}");
    }
}

fn nft_lists_every_example_as_it_was_rendered() {
    for example in EXAMPLES {
        nft_lists_what_it_was_given(&example.rules(Layout::Nftables));
    }
}

fn nft_follows_from_every_example_to_the_next_and_to_nothing() {
    let all: Vec<_> = EXAMPLES.iter().map(|example| example.rules(Layout::Nftables)).collect();
    for pair in all.windows(2) {
        nft_follows(&pair[0], &pair[1]);
    }
    nft_follows(&all[0], &Ruleset::empty(Layout::Nftables));
}

fn both_kinds_of_iptables_list_every_example_as_it_was_rendered_on_the_way_to_the_next() {
    let empty = Ruleset::empty(Layout::Iptables);
    let all: Vec<_> = EXAMPLES.iter().map(|example| example.rules(Layout::Iptables)).collect();
    for pair in all.windows(2) {
        iptables_lists_what_it_was_given(&empty, &pair[0]);
        iptables_lists_what_it_was_given(&pair[0], &pair[1]);
    }
    iptables_lists_what_it_was_given(&all[0], &empty);
}

fn config() -> Config {
    Config { cases: 24, max_shrink_iters: 64, failure_persistence: None, ..Config::default() }
}

fn nft_lists_every_scene_as_it_was_rendered() {
    proptest!(config(), |(scene in scene())| {
        nft_lists_what_it_was_given(&rules(&scene, Layout::Nftables).expect("a scene compiles"));
    });
}

fn nft_follows_a_transaction() {
    proptest!(config(), |((old, new) in (scene(), scene()))| {
        let [old, new] = [old, new].map(|it| rules(&it, Layout::Nftables).expect("a scene compiles"));
        nft_follows(&old, &new);
    });
}

fn both_kinds_of_iptables_follow_a_transaction() {
    proptest!(config(), |((old, new) in (scene(), scene()))| {
        let [old, new] = [old, new].map(|it| rules(&it, Layout::Iptables).expect("a scene compiles"));
        iptables_lists_what_it_was_given(&old, &new);
    });
}
