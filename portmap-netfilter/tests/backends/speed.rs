//! How long the kernel takes. The limits are for a release build; the numbers are printed by any.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use portmap_core::{Binding, Protocol};
use portmap_netfilter::{Nftables, TableOwner};
use portmap_rules::{Network, Policy, Ruleset, compile};

use crate::{
    published::{binding, nothing},
    suite::{Suite, TestResult},
};

pub(crate) fn add(suite: &mut Suite) {
    suite.test("ten_thousand_ports_cost_little", &[], ten_thousand);
    suite.test("a_long_transaction_does_not_hold_up_the_runtime", &[], not_held_up);
}

/// What an optimised build may take, and what one for debugging may.
fn limit(millis: u64) -> Duration {
    Duration::from_millis(if cfg!(debug_assertions) { 20 * millis } else { millis })
}

async fn ten_thousand() -> TestResult {
    let networks: [Network; 1] = ["bridge1=192.0.2.0/24".parse()?];
    let single = |number: u16| {
        let number = number.to_string();
        binding(Protocol::Tcp, "*", &number, "192.0.2.2", "80")
    };
    let singles: Vec<Binding> = (20_000..30_000).map(single).collect::<Result<_, _>>()?;
    let range = vec![binding(Protocol::Tcp, "*", "30000", "192.0.2.2", "30000-39999")?];
    let rules = |bindings: &[Binding]| compile(&networks, bindings, &Policy::default());

    let mut medians = Vec::new();
    let (empty, all, ranged) = (rules(&[])?, rules(&singles)?, rules(&range)?);
    let mut more = singles.clone();
    more.push(single(8080)?);
    let more = rules(&more)?;
    for (name, before, after, limit) in [
        ("10,000 single mappings", &empty, &all, limit(60)),
        ("a range of 10,000", &empty, &ranged, limit(20)),
        ("one more beside 10,000", &all, &more, limit(1)),
    ] {
        let (come, go) = (Ruleset::diff(before, after), Ruleset::diff(after, before));
        let nftables = Nftables::open(TableOwner::Socket)?;
        nftables.apply(Ruleset::diff(&nothing(), before)).await?;
        let (mut publish, mut release) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let (come, go) = (come.clone(), go.clone());
            let start = Instant::now();
            nftables.apply(come).await?;
            publish.push(start.elapsed());
            let start = Instant::now();
            nftables.apply(go).await?;
            release.push(start.elapsed());
        }
        nftables.close().await;
        publish.sort_unstable();
        release.sort_unstable();
        eprintln!("{name}: publish {:?}, release {:?} (medians of 5)", publish[2], release[2]);
        medians.push((name, publish[2].max(release[2]), limit));
    }
    for (name, median, limit) in medians {
        assert!(median <= limit, "{name}: {median:?} is more than {limit:?}");
    }
    Ok(())
}

async fn not_held_up() -> TestResult {
    let networks: [Network; 1] = ["bridge1=192.0.2.0/24".parse()?];
    let single = |number: u16| binding(Protocol::Tcp, "*", &number.to_string(), "192.0.2.2", "80");
    let singles: Vec<Binding> = (20_000..40_000).map(single).collect::<Result<_, _>>()?;
    let rules = compile(&networks, &singles, &Policy::default())?;
    let nftables = Nftables::open(TableOwner::Socket)?;
    let transaction = Ruleset::diff(&nothing(), &rules);
    // The runtime has one thread: its timer runs while the kernel works, or not at all.
    let mut ticks = 0;
    let mut every = tokio::time::interval(Duration::from_millis(1));
    let mut applied = pin!(nftables.apply(transaction));
    loop {
        tokio::select! {
            biased;
            result = &mut applied => break result?,
            _ = every.tick() => ticks += 1,
        }
    }
    assert!(ticks > 5, "{ticks} ticks of a millisecond while 20,000 elements went in");
    Ok(())
}
