//! What happens in a node stays in it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use portmap_testkit::{ChildError, ExecError, Need, Node, Suite};

const NAMESPACE: &str = "/proc/thread-self/ns/net";

pub(crate) fn add(suite: &mut Suite) {
    suite.test(
        "tasks_children_and_blocking_threads_are_in_the_namespace",
        &[Need::Netns],
        async || {
            let node = Node::new("web").await?;
            let here = fs::read_link(NAMESPACE)?;
            let there = node.run(async { fs::read_link(NAMESPACE) }).await?;
            assert_ne!(here, there);
            let blocking =
                node.run(async { tokio::task::spawn_blocking(|| fs::read_link(NAMESPACE)).await });
            assert_eq!(blocking.await??, there);
            let child = node.exec("readlink", ["/proc/self/ns/net"]).await?;
            assert_eq!(child.stdout.trim_end(), there.to_string_lossy());

            let again = Node::join("again", node.as_fd().try_clone_to_owned()?).await?;
            assert_eq!(again.run(async { fs::read_link(NAMESPACE) }).await?, there);
            let inode = fs::metadata(format!("/proc/self/fd/{}", node.as_fd().as_raw_fd()))?.ino();
            assert_eq!(there.to_string_lossy(), format!("net:[{inode}]"));
            let current = Node::current().await?;
            assert_eq!(current.run(async { fs::read_link(NAMESPACE) }).await?, here);
            Ok(())
        },
    );

    suite.test("a_new_node_has_the_kernels_settings", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        for (name, value) in [
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv6/conf/all/forwarding", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/route_localnet", "0"),
        ] {
            assert_eq!(node.read_sysctl(name).await?, value, "{name}");
        }
        Ok(())
    });

    suite.test("a_setting_is_the_namespaces_own", &[Need::Netns], async || {
        let (one, other) = (Node::new("one").await?, Node::new("other").await?);
        one.sysctl("net/ipv4/ip_forward", "1").await?;
        one.sysctl("net/ipv4/ip_unprivileged_port_start", "80").await?;
        assert_eq!(one.read_sysctl("net/ipv4/ip_forward").await?, "1");
        assert_eq!(other.read_sysctl("net/ipv4/ip_forward").await?, "0");
        assert!(one.sysctl("net/ipv4/no_such_setting", "1").await.is_err());
        Ok(())
    });

    suite.test("the_first_address_of_a_family_is_the_main_one", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        for address in ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128", "2001:db8::2/128"] {
            node.add_address("lo", address.parse()?).await?;
        }
        assert_eq!(node.addr4().to_string(), "192.0.2.1");
        assert_eq!(node.addr6().to_string(), "2001:db8::1");
        let twice = node.add_address("lo", "192.0.2.1/32".parse()?).await;
        assert_eq!(twice.err().and_then(|error| error.raw_os_error()), Some(17), "EEXIST");
        assert!(node.add_address("eth7", "192.0.2.3/32".parse()?).await.is_err());
        Ok(())
    });

    suite.test("a_panic_in_a_node_goes_on_in_the_caller", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        let panic = AssertUnwindSafe(node.run(async { panic!("on purpose") })).catch_unwind().await;
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
        assert_eq!(node.run(async { 7 }).await, 7, "the node lives on");
        Ok(())
    });

    suite.test("a_dropped_run_is_aborted", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let run = node.run(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), run).await.is_err());
        assert_eq!(gone.recv().await, None, "what the future held is dropped");
        Ok(())
    });

    suite.test("a_program_is_run_to_its_end", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        let output = node.exec("sh", ["-c", "echo out; echo err >&2; exit 3"]).await?;
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(output.status.code(), Some(3));
        let missing = node.exec("no-such-program", [""; 0]).await;
        assert!(matches!(missing, Err(ExecError::Start { .. })), "{missing:?}");
        Ok(())
    });

    suite.test("a_program_is_talked_to", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        let mut cat = node.command("cat", [""; 0]).await?;
        cat.type_line("one").await?;
        assert_eq!(cat.read_until("ne").await?, "one");
        cat.type_line("two").await?;
        assert_eq!(cat.read_until("two\n").await?, "\ntwo\n");
        cat.end_input();
        let ended = cat.read_until("three").await;
        assert!(matches!(ended, Err(ChildError::Ended { .. })), "{ended:?}");
        assert!(cat.wait().await?.success());
        assert_eq!(cat.transcript(), "one\ntwo\n");
        Ok(())
    });
}
