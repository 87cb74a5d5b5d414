//! A way to the kernel that fails when it is told to, and what becomes of the rules then.

use std::sync::{Arc, Mutex, PoisonError};

use portmap_core::{Error, ErrorKind};
use portmap_rules::{ForeignDrop, Network, Policy, TableFamily, TableId};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{
    RulesMapper, backend::Backend, forwarding::Forwarding, settings::Settings, task::Kernel,
    way::Way,
};
use crate::{Conntrack, Difference, DifferenceKind, HostSettings, OwnerLock};

/// Takes every change and finds nothing, unless it is told otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Mock(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    /// How many changes, and how many looks, are to fail from now on.
    failing_changes: u32,
    failing_looks: u32,
    /// Whether somebody has changed something that no look has put right.
    changed: bool,
    changes: Vec<Instant>,
    looks: Vec<Instant>,
}

impl Mock {
    pub(super) fn apply(&self) -> Result<(), Error> {
        self.script(|script| {
            script.changes.push(Instant::now());
            fails(&mut script.failing_changes)
        })
    }

    pub(super) fn reconcile(&self) -> Result<Vec<Difference>, Error> {
        self.script(|script| {
            script.looks.push(Instant::now());
            fails(&mut script.failing_looks)?;
            let table = TableId { family: TableFamily::Inet, name: "portmap".into() };
            let difference =
                Difference { table, chain: "forward".into(), kind: DifferenceKind::Missing };
            Ok(std::mem::take(&mut script.changed).then_some(difference).into_iter().collect())
        })
    }

    fn script<T>(&self, ask: impl FnOnce(&mut Script) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn fails(times: &mut u32) -> Result<(), Error> {
    match times.checked_sub(1) {
        None => Ok(()),
        Some(left) => {
            *times = left;
            Err(Error::new(ErrorKind::Busy, "told to fail"))
        }
    }
}

/// A mapper with nothing but the mock behind it. Its sockets ask for no privilege, and nobody uses them.
fn mapper(prefix: &str) -> (RulesMapper, Mock) {
    let mock = Mock::default();
    let policy = Policy {
        prefix: prefix.parse().unwrap(),
        foreign_drop: ForeignDrop::Ignore,
        ..Policy::default()
    };
    let kernel = Kernel {
        settings: Settings::new(HostSettings::Untouched),
        forwarding: Forwarding::assumed(),
        way: Way::open(&policy, None).unwrap(),
        backend: Backend::Mock(mock.clone()),
        conntrack: Conntrack::open().unwrap(),
        lock: Arc::new(OwnerLock::acquire(&policy.prefix).unwrap()),
    };
    (RulesMapper::begin(policy, kernel), mock)
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_tried_again_on_time_however_much_else_happens() {
    let (mapper, mock) = mapper("OVERDUE");
    let lease = mapper.attach("br0=192.0.2.0/24".parse().unwrap()).await.unwrap();
    mock.script(|script| (script.failing_changes, script.changes) = (1, Vec::new()));
    let begin = Instant::now();
    drop(lease);
    // Somebody asks for something ten times in the time after which it is tried again.
    while !mapper.networks().is_empty() {
        mapper.reconcile().await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10), "it was never tried again");
        sleep(Duration::from_millis(200)).await;
    }
    let tried = mock.script(|script| script.changes.clone());
    assert_eq!(tried.len(), 2);
    assert_eq!(tried[1] - tried[0], Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_fails_is_tried_again_though_nothing_more_changes() {
    let (mapper, mock) = mapper("REPAIR");
    let _lease = mapper.attach("br0=192.0.2.0/24".parse().unwrap()).await.unwrap();
    mock.script(|script| (script.changed, script.failing_looks) = (true, 3));
    mapper.reconcile().await.expect_err("it fails");
    let repaired = async {
        while mock.script(|script| script.changed) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(20), repaired).await.expect("it is tried again");
    assert_eq!(mock.script(|script| script.looks.len()), 4);
    // And then no more: nothing tells that anything has changed.
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(mock.script(|script| script.looks.len()), 4);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_fails_is_followed_by_a_look() {
    let (mapper, mock) = mapper("DOUBT");
    mock.script(|script| script.failing_changes = 1);
    mapper.attach("br0=192.0.2.0/24".parse().unwrap()).await.expect_err("it fails");
    assert_eq!(mapper.networks(), []);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(mock.script(|script| script.looks.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_detachment_that_fails_is_tried_again_though_somebody_waited_for_it() {
    let (mapper, mock) = mapper("DETACH");
    let lease = mapper.attach("br0=192.0.2.0/24".parse().unwrap()).await.unwrap();
    mock.script(|script| script.failing_changes = 1);
    lease.detach().await.expect_err("it fails");
    assert_eq!(mapper.networks().len(), 1);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(mapper.networks(), []);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_back_before_it_was_detached_stays() {
    let (mapper, mock) = mapper("BACK");
    let [same, other] = ["br0=192.0.2.0/24", "br0=198.51.100.0/24"].map(|it| it.parse().unwrap());
    let mut lease = mapper.attach(Network::clone(&same)).await.unwrap();
    for network in [same, other] {
        mock.script(|script| script.failing_changes = 1);
        lease.detach().await.expect_err("it fails");
        lease = mapper.attach(Network::clone(&network)).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(mapper.networks(), [network]);
    }
    lease.detach().await.unwrap();
    assert_eq!(mapper.networks(), []);
}
