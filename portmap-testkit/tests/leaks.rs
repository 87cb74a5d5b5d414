//! Nothing is left of what is dropped: threads, file descriptors, child processes.
//!
//! One test at a time, as each looks at the whole process.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use futures::FutureExt;
use portmap_testkit::{Bridge, BridgeSpec, Lab, LabError, Need, Node, Suite, TestResult, Webapp};

fn main() -> ExitCode {
    let mut suite = Suite::from_args().serial();

    suite.test("a_dropped_lab_leaves_nothing", &[Need::Netns], async || {
        let before = Census::take()?;
        let lab = Lab::new().await?;
        let docker0 = lab.docker0().await?;
        let web = docker0.container("web").await?;
        let webapp = Webapp::start(&web, 80).await?;
        lab.host().get((web.addr4(), 80).into()).await?;
        assert_ne!(Census::take()?, before);
        drop((webapp, web, docker0, lab));
        before.returns()
    });

    suite.test("the_order_of_dropping_does_not_matter", &[Need::Netns], async || {
        let before = Census::take()?;
        let lab = Lab::new().await?;
        let docker0 = lab.docker0().await?;
        let web = docker0.container("web").await?;
        let webapp = Webapp::start(&web, 80).await?;
        let client = lab.client().clone();
        drop(lab);
        assert!(client.get((client.addr4(), 9).into()).await.is_err());
        drop(docker0);
        drop(web);
        drop(webapp);
        drop(client);
        before.returns()
    });

    suite.test("a_panicking_test_leaves_nothing", &[Need::Netns], async || {
        let before = Census::take()?;
        let body = async {
            let lab = Lab::new().await?;
            let docker0 = lab.docker0().await?;
            let web = docker0.container("web").await?;
            let _webapp = Webapp::start(&web, 80).await?;
            let _sleeper = web.command("sleep", ["1000"]).await?;
            if lab.host().addr4().is_private() {
                panic!("on purpose");
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        };
        assert!(AssertUnwindSafe(body).catch_unwind().await.is_err());
        before.returns()
    });

    suite.test("a_node_that_hangs_does_not_hang_its_dropper", &[Need::Netns], async || {
        let before = Census::take()?;
        let node = Node::new("hangs").await?;
        let (begin, begun) = tokio::sync::oneshot::channel();
        node.spawn(async {
            let _ = begin.send(());
            thread::sleep(Duration::from_millis(3500));
        });
        begun.await?;
        let start = Instant::now();
        drop(node);
        let took = start.elapsed();
        assert!(took > Duration::from_secs(1) && took < Duration::from_secs(3), "{took:?}");
        before.returns()
    });

    suite.test("blocking_tasks_end_with_their_node", &[Need::Netns], async || {
        let before = Census::take()?;
        let node = Node::new("blocks").await?;
        let (begin, begun) = tokio::sync::oneshot::channel();
        node.spawn(async {
            let sleep = || {
                let _ = begin.send(());
                thread::sleep(Duration::from_millis(300));
            };
            tokio::task::spawn_blocking(sleep).await
        });
        begun.await?;
        drop(node);
        before.returns()
    });

    suite.test("a_node_may_be_dropped_by_its_own_task", &[Need::Netns], async || {
        let before = Census::take()?;
        let node = Node::new("own").await?;
        let inside = node.clone();
        let task = node.spawn(async move {
            tokio::task::yield_now().await;
            drop(inside);
        });
        drop(node);
        let _ = task.await;
        before.returns()
    });

    suite.test("a_cancelled_build_leaves_nothing", &[Need::Netns], async || {
        let before = Census::take()?;
        let node = Node::new("host").await?;
        // Cut at many moments, however fast the machine is.
        for microseconds in (0..6000).step_by(150) {
            let limit = Duration::from_micros(microseconds);
            let _ = tokio::time::timeout(limit, Lab::new()).await;
            let build = async {
                let br0 = Bridge::create(&node, BridgeSpec::br0()).await?;
                let web = br0.container("web").await?;
                Ok::<_, LabError>((web, br0))
            };
            let _ = tokio::time::timeout(limit, build).await;
        }
        // The name is free once the last bridge is deleted.
        let bridge = loop {
            match Bridge::create(&node, BridgeSpec::br0()).await {
                Ok(bridge) => break bridge,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        bridge.remove().await?;
        drop(node);
        before.returns()
    });

    suite.test("a_bridge_in_a_present_namespace_goes_with_a_panic", &[Need::Netns], async || {
        let outer = Node::new("machine").await?;
        let inner = outer.run(Node::current()).await?;
        let before = links(&outer).await?;
        let body = async {
            let _bridge = Bridge::create(&inner, BridgeSpec::br0()).await;
            drop(inner);
            panic!("on purpose");
        };
        assert!(AssertUnwindSafe(body).catch_unwind().await.is_err());
        // At once: a tool that panics ends right afterwards.
        assert_eq!(links(&outer).await?, before);
        Ok(())
    });

    suite.run()
}

async fn links(node: &Node) -> io::Result<BTreeSet<String>> {
    let table = node.run(async { fs::read_to_string("/proc/thread-self/net/dev") }).await?;
    Ok(table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}

/// How many there are in the process.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    threads: usize,
    descriptors: usize,
    namespaces: usize,
    children: usize,
}

impl Census {
    fn take() -> io::Result<Self> {
        let mut namespaces = BTreeSet::new();
        let mut threads = 0;
        let mut children = 0;
        for task in fs::read_dir("/proc/self/task")? {
            let path = task?.path();
            // A thread that ends meanwhile has none.
            namespaces.extend(fs::read_link(path.join("ns/net")).ok());
            threads += 1;
            let text = fs::read_to_string(path.join("children")).unwrap_or_default();
            children += text.split_whitespace().count();
        }
        let mut descriptors = 0;
        for descriptor in fs::read_dir("/proc/self/fd")? {
            let target = fs::read_link(descriptor?.path()).unwrap_or_default();
            namespaces.extend(Some(target).filter(|target| target.starts_with("net:")));
            descriptors += 1;
        }
        Ok(Self { threads, descriptors, namespaces: namespaces.len(), children })
    }

    /// The kernel lists a thread for a moment after it was joined.
    fn returns(&self) -> TestResult {
        let start = Instant::now();
        loop {
            let now = Self::take()?;
            // What the test before left for a moment may have been counted.
            let gone = now.threads <= self.threads
                && now.descriptors <= self.descriptors
                && now.namespaces <= self.namespaces
                && now.children <= self.children;
            if gone {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(4) {
                return Err(format!("{self:?} became {now:?}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
