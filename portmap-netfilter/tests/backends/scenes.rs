//! From every example to the next, and through random networks and bindings, by the backends.

use std::sync::Arc;

use portmap_netfilter::{Iptables, IptablesTools, IptablesVariant, Nftables, TableOwner};

use portmap_rules::{Layout, Ruleset};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use crate::{
    common::{
        random::{rules, scene},
        scenes::EXAMPLES,
    },
    suite::{Need, Suite, TestResult},
    tool,
};

/// How many random scenes follow one another.
const SCENES: usize = 60;

pub(crate) fn add(suite: &mut Suite) {
    suite.test("nftables_follows_from_scene_to_scene", &[Need::Tool("nft")], nftables);
    let iptables_needs =
        &[Need::Tool("iptables-nft-restore"), Need::Tool("iptables-legacy-restore")];
    suite.test("iptables_follows_from_scene_to_scene", iptables_needs, iptables);
}

/// The examples, then random scenes, the same ones each time; and nothing in the end.
fn all(layout: Layout) -> Result<Vec<Arc<Ruleset>>, Box<dyn std::error::Error>> {
    let mut all: Vec<_> = EXAMPLES.iter().map(|example| Arc::new(example.rules(layout))).collect();
    let mut runner = TestRunner::deterministic();
    for _ in 0..SCENES {
        let scene = scene().new_tree(&mut runner).map_err(|reason| reason.to_string())?.current();
        all.push(Arc::new(rules(&scene, layout)?));
    }
    all.push(Arc::new(Ruleset::empty(layout)));
    Ok(all)
}

async fn nftables() -> TestResult {
    let nftables = Nftables::open(TableOwner::Socket)?;
    let mut current = Arc::new(Ruleset::empty(Layout::Nftables));
    for next in all(Layout::Nftables)? {
        nftables.apply(Ruleset::diff(&current, &next)).await?;
        assert_eq!(tool::nft_list()?, tool::comparable(&next.to_string()));
        current = next;
    }
    Ok(())
}

async fn iptables() -> TestResult {
    for variant in [IptablesVariant::Nft, IptablesVariant::Legacy] {
        let iptables = Iptables::open(IptablesTools::of(variant)?)?;
        let mut current = Arc::new(Ruleset::empty(Layout::Iptables));
        for next in all(Layout::Iptables)? {
            iptables.replace(Arc::clone(&current), Arc::clone(&next)).await?;
            assert_eq!(iptables.compare(Arc::clone(&next)).await?, [], "{variant}:\n{next}");
            current = next;
        }
    }
    Ok(())
}
