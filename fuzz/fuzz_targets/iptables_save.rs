#![no_main]
#![allow(dead_code, unreachable_pub)]

use libfuzzer_sys::fuzz_target;

/// Where `pub(super)` leads to.
#[path = "../.."]
mod backend {
    #[path = "portmap-netfilter/src/iptables/saved.rs"]
    mod saved;

    use saved::Saved;

    /// What was read of some tables, as `iptables-save` would print it.
    fn written(saved: &Saved<'_>, tables: &[&str]) -> String {
        let mut text = String::new();
        for table in tables {
            text += &format!("*{table}\n");
            let mut chains: Vec<_> = saved.chains(table).collect();
            chains.sort();
            for (chain, rules) in chains {
                assert_eq!(saved.chain(table, chain), Some(rules));
                text += &format!(":{chain} - [0:0]\n");
                for rule in rules {
                    text += &format!("-A {chain} {rule}\n");
                }
            }
        }
        text
    }

    pub fn check(text: &str) {
        let mut tables: Vec<_> = text.lines().filter_map(|line| line.strip_prefix('*')).collect();
        tables.sort();
        tables.dedup();
        let once = written(&Saved::parse(text), &tables);
        assert_eq!(written(&Saved::parse(&once), &tables), once, "{text:?}");
    }
}

fuzz_target!(|text: &str| backend::check(text));
