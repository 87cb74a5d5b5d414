//! On a kernel without owners of tables, others can change our table: it is put right.
#![cfg(feature = "netns")]

use std::{
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use portmap_core::{Mapping, PortMapper, PortSpec, Publish};
use portmap_rules::Policy;
use tokio::{runtime::Builder, time::sleep};

use super::{
    RulesMapper, backend::Backend, forwarding::Forwarding, settings::Settings,
    settled::SettledNftables, task::Kernel, way::Way,
};
use crate::{Conntrack, HostSettings, Nftables, OwnerLock};

#[test]
fn what_others_change_in_a_table_without_an_owner_is_put_right() {
    let body = || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => Builder::new_current_thread().enable_all().build().unwrap().block_on(put_right()),
        Err(error) => {
            eprintln!("skipped: no network namespace: {error}");
            let required = std::env::var("PORTMAP_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|word| word == "netns"), "it is required");
        }
    };
    thread::spawn(body).join().expect("the test passes");
}

async fn put_right() {
    let mapper = mapper();
    let network = mapper.attach("br0=192.0.2.0/24".parse().unwrap()).await.unwrap();
    let spec: PortSpec = "8080:80".parse().unwrap();
    let wanted = Publish::new([192, 0, 2, 2]).with(Mapping::from(spec));
    let lease = mapper.publish(wanted).await.unwrap();
    let whole = table().unwrap();
    let has = |text: &str| whole.iter().any(|line| line.contains(text));
    assert!(has("tcp . 8080") && !has("owner"), "{whole:?}");
    assert_eq!(mapper.reconcile().await.unwrap(), []);
    for change in [
        "flush ruleset",
        "delete table inet portmap",
        "flush chain inet portmap forward4",
        "flush map inet portmap on-any4",
        "insert rule inet portmap forward drop",
        "add chain inet portmap theirs { type filter hook forward priority 0; policy drop; }",
    ] {
        assert!(Command::new("nft").arg(change).status().unwrap().success(), "{change}");
        let begin = Instant::now();
        while table().as_ref() != Some(&whole) {
            let found = table();
            assert!(begin.elapsed() < Duration::from_secs(8), "{change}: {found:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    // What is none of ours stays, and is no reason to write anything.
    assert!(Command::new("nft").arg("add table inet theirs").status().unwrap().success());
    assert_eq!(mapper.reconcile().await.unwrap(), []);
    lease.release().await.unwrap();
    network.detach().await.unwrap();
    mapper.close().await;
    assert_eq!(table(), None);
}

fn mapper() -> RulesMapper {
    let policy = Policy::default();
    let kernel = Kernel {
        settings: Settings::new(HostSettings::Untouched),
        forwarding: Forwarding::assumed(),
        way: Way::open(&policy, None).unwrap(),
        backend: Backend::Nftables(SettledNftables::new(Nftables::open_before_owners().unwrap())),
        conntrack: Conntrack::open().unwrap(),
        lock: Arc::new(OwnerLock::acquire(&policy.prefix).unwrap()),
    };
    RulesMapper::begin(policy, kernel)
}

/// The table, its lines in order: sets and chains are listed in the order in which they came.
fn table() -> Option<Vec<String>> {
    let listed = Command::new("nft").args(["list", "table", "inet", "portmap"]).output().unwrap();
    let text = listed.status.success().then(|| String::from_utf8(listed.stdout).unwrap())?;
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Some(lines)
}
