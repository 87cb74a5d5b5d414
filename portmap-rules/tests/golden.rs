//! Every example's rules are kept as files, and explained in `docs/rules.md` at the root of the repository.
//!
//! `PORTMAP_BLESS=1 cargo test -p portmap-rules --test golden` writes both anew.

mod common;

use std::{env, fs, path::Path};

use common::{
    document,
    scenes::{EXAMPLES, Example},
};
use portmap_rules::Layout;

fn is_kept(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("PORTMAP_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a file lies somewhere")).expect("a directory");
        fs::write(&path, text).expect("the file can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{} has drifted: see the top of this test\n{text}", path.display());
}

fn path(example: &Example, layout: Layout) -> String {
    let suffix = match layout {
        Layout::Nftables => "nft",
        Layout::Iptables => "iptables",
    };
    format!("tests/golden/{}.{suffix}", example.name)
}

#[test]
fn rules_are_as_they_were() {
    for example in EXAMPLES {
        for layout in [Layout::Iptables, Layout::Nftables] {
            is_kept(&path(example, layout), &example.rules(layout).to_string());
        }
    }
}

#[test]
fn no_file_is_left_of_an_example_that_is_gone() {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"));
    assert_eq!(files.expect("the directory").count(), 2 * EXAMPLES.len());
}

#[test]
fn the_documentation_explains_the_rules_as_they_are() {
    is_kept("../docs/rules.md", &document::text());
}

#[test]
fn no_rule_knows_of_packet_marks() {
    for example in EXAMPLES {
        for layout in [Layout::Iptables, Layout::Nftables] {
            let text = example.rules(layout).to_string();
            assert!(!text.to_lowercase().contains("mark"), "{text}");
        }
    }
}
