//! Bridges beside other networks, and those that a killed process leaves.

use std::env;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use portmap_testkit::{BoxError, Bridge, BridgeSpec, Need, Node, Suite, TestResult};

/// With this in its environment the test binary makes a bridge where it is, and waits to be killed.
pub(crate) const LEAVE_A_BRIDGE: &str = "PORTMAP_TESTKIT_LEAVE_A_BRIDGE";

pub(crate) fn add(suite: &mut Suite) {
    suite.test("a_removed_or_dropped_bridge_is_gone", &[Need::Netns], async || {
        let node = Node::new("host").await?;
        let docker0 = Bridge::create(&node, BridgeSpec::docker0()).await?;
        assert!(has_link(&node, "docker0").await?);
        docker0.remove().await?;
        assert!(!has_link(&node, "docker0").await?);

        drop(Bridge::create(&node, BridgeSpec::br0()).await?);
        while has_link(&node, "br0").await? {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    });

    suite.test(
        "a_bridge_that_somebody_deleted_is_reported",
        &[Need::Netns, Need::Tool("ip")],
        async || {
            let node = Node::new("host").await?;
            let br0 = Bridge::create(&node, BridgeSpec::br0()).await?;
            delete_link(&node, "br0").await?;
            let error = br0.remove().await.err().ok_or("removed twice")?;
            assert_eq!(error.raw_os_error(), Some(19), "ENODEV: {error}");
            Ok(())
        },
    );

    suite.test("a_name_is_given_once", &[Need::Netns], async || {
        let node = Node::new("host").await?;
        let br0 = Bridge::create(&node, BridgeSpec::br0()).await?;
        assert!(Bridge::create(&node, BridgeSpec::br0()).await.is_err());
        br0.remove().await?;
        Bridge::create(&node, BridgeSpec::br0()).await?.remove().await?;
        Ok(())
    });

    suite.test("a_bridge_that_fails_half_way_leaves_nothing", &[Need::Netns], async || {
        let node = Node::new("host").await?;
        // The kernel takes no multicast address for an interface.
        let spec = BridgeSpec::new("br0", "224.0.0.1/24".parse()?);
        assert!(Bridge::create(&node, spec).await.is_err());
        while has_link(&node, "br0").await? {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    });

    suite.test("a_free_bridge_avoids_what_is_there", &[Need::Netns], async || {
        let node = Node::new("host").await?;
        let candidates = candidates()?;
        let taken = Bridge::create(&node, BridgeSpec::new("portmap0", candidates[0].0)).await?;
        let make = || Bridge::create_free(&node, "portmap", &candidates);
        let (second, third) = tokio::try_join!(make(), make())?;
        let mut made =
            [&second, &third].map(|bridge| (bridge.name(), bridge.gateway4().to_string()));
        made.sort();
        assert_eq!(
            made,
            [("portmap1", "172.31.0.1".to_owned()), ("portmap2", "172.31.1.1".to_owned())]
        );
        let full = make().await;
        assert!(full.is_err(), "every subnet is taken: {full:?}");
        drop(taken);
        Ok(())
    });

    suite.test(
        "a_killed_process_leaves_a_bridge_that_the_next_one_sweeps",
        &[Need::Netns, Need::Tool("ip")],
        async || {
            let node = Node::new("host").await?;
            let command = [
                "-c".to_owned(),
                format!("{LEAVE_A_BRIDGE}=1 exec {}", env::current_exe()?.display()),
            ];
            let mut other = node.command("sh", command).await?;
            other.read_until("made portmap0").await?;
            assert_eq!(Bridge::sweep(&node, "portmap").await?, [""; 0], "its owner lives");
            let beside = Bridge::create_free(&node, "portmap", &candidates()?).await?;
            assert_eq!(beside.name(), "portmap1");

            node.exec("ip", ["link", "add", "portmap7", "type", "bridge"]).await?;
            drop(other);
            let swept = loop {
                let swept = Bridge::sweep(&node, "portmap").await?;
                if !swept.is_empty() {
                    break swept;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            assert_eq!(swept, ["portmap0"]);
            assert!(has_link(&node, "portmap1").await?, "ours lives");
            assert!(has_link(&node, "portmap7").await?, "another program's is left alone");
            let next = Bridge::create_free(&node, "portmap", &candidates()?).await?;
            assert_eq!(next.name(), "portmap0");
            Ok(())
        },
    );

    suite.test(
        "a_namespace_that_outlives_its_node_gets_its_links_back",
        &[Need::Netns],
        async || {
            let host = Node::new("host").await?;
            let br0 = Bridge::create(&host, BridgeSpec::br0()).await?;
            let real = Node::new("real").await?;
            let joined = Node::join("joined", real.as_fd().try_clone_to_owned()?).await?;
            let container = br0.plug(joined).await?;
            assert!(has_link(&real, "eth0").await?);
            drop(container);
            while has_link(&real, "eth0").await? {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let joined = Node::join("again", real.as_fd().try_clone_to_owned()?).await?;
            let again = br0.plug(joined).await?;
            assert_eq!(again.addr4().to_string(), "192.168.99.3", "no address is used twice");
            Ok(())
        },
    );

    suite.test("a_port_is_made_a_hairpin", &[Need::Netns, Need::Tool("bridge")], async || {
        let node = Node::new("host").await?;
        let br0 = Bridge::create(&node, BridgeSpec::br0()).await?;
        let web = br0.container("web").await?;
        for (on, shown) in [(true, "hairpin on"), (false, "hairpin off")] {
            web.set_hairpin(on).await?;
            let ports = node.exec("bridge", ["-d", "link", "show"]).await?;
            assert!(ports.stdout.contains(shown), "{ports:?}");
        }
        Ok(())
    });

    suite.test(
        "a_bridge_has_as_many_containers_as_its_subnet_addresses",
        &[Need::Netns],
        async || {
            let node = Node::new("host").await?;
            let tiny =
                Bridge::create(&node, BridgeSpec::new("tiny", "192.0.2.2/29".parse()?)).await?;
            let mut addresses = Vec::new();
            let mut containers = Vec::new();
            while let Ok(container) = tiny.container("web").await {
                addresses.push(container.addr4().octets()[3]);
                containers.push(container);
            }
            assert_eq!(
                addresses,
                [1, 3, 4, 5, 6],
                "neither the gateway's nor the broadcast address"
            );
            Ok(())
        },
    );
}

pub(crate) fn leave_a_bridge() -> ExitCode {
    let made = || -> Result<(), BoxError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let here = Node::current().await?;
            let bridge = Bridge::create_free(&here, "portmap", &candidates()?).await?;
            eprintln!("made {}", bridge.name());
            std::future::pending().await
        })
    };
    eprintln!("{:?}", made());
    ExitCode::FAILURE
}

fn candidates() -> Result<[(Ipv4Net, Option<Ipv6Net>); 3], BoxError> {
    Ok([
        ("172.30.0.1/16".parse()?, None),
        ("172.31.0.1/24".parse()?, Some("fd00:31::1/64".parse()?)),
        ("172.31.1.1/24".parse()?, None),
    ])
}

async fn has_link(node: &Node, name: &str) -> Result<bool, BoxError> {
    let table = node.run(async { std::fs::read_to_string("/proc/thread-self/net/dev") }).await?;
    Ok(table.lines().any(|line| line.trim_start().starts_with(&format!("{name}:"))))
}

async fn delete_link(node: &Node, name: &str) -> TestResult {
    let deleted = node.exec("ip", ["link", "delete", name]).await?;
    assert!(deleted.status.success(), "{deleted:?}");
    Ok(())
}
