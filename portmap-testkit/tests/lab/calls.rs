//! The webapp over real sockets, and how calls fail.

use std::time::Duration;

use portmap_testkit::{CallError, Lab, Need, Node, Page, Suite, Webapp};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

pub(crate) fn add(suite: &mut Suite) {
    suite.test("an_empty_datagram_is_answered", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        let webapp = Webapp::start(&node, 53).await?;
        let asked = Page::ask_udp(([127, 0, 0, 1], 53).into(), Vec::new(), Duration::from_secs(1));
        assert_eq!(node.run(asked).await?.remote_ip.to_string(), "127.0.0.1");
        assert_eq!(webapp.seen().len(), 1);
        Ok(())
    });

    suite.test("a_dropped_webapp_frees_its_port_and_its_connections", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        let to = ([127, 0, 0, 1], 80).into();
        let webapp = Webapp::start(&node, 80).await?;
        assert!(Webapp::start(&node, 80).await.is_err(), "the port is taken");
        node.get(to).await?;
        drop(webapp);
        let again = Webapp::start(&node, 80).await?;
        node.get(to).await?;
        drop(again);
        let answer = node.get(to).await;
        assert!(matches!(answer, Err(CallError::Refused)), "{answer:?}");
        Ok(())
    });

    suite.test("a_webapp_serves_where_ipv6_is_off", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        node.sysctl("net/ipv6/conf/all/disable_ipv6", "1").await?;
        let _webapp = Webapp::start(&node, 80).await?;
        assert_eq!(node.get(([127, 0, 0, 1], 80).into()).await?.hostname, "web");
        Ok(())
    });

    suite.test("a_failed_call_says_how_it_failed", &[Need::Netns], async || {
        let node = Node::new("web").await?;
        let nobody = ([127, 0, 0, 1], 80).into();
        for answer in [node.get(nobody).await, node.ask_udp(nobody).await] {
            assert!(matches!(answer, Err(CallError::Refused)), "{answer:?}");
        }
        let nowhere = ([203, 0, 113, 1], 80).into();
        for answer in [node.get(nowhere).await, node.ask_udp(nowhere).await] {
            assert!(matches!(answer, Err(CallError::Unreachable)), "{answer:?}");
        }
        let silent = node.run(TcpListener::bind("127.0.0.1:81")).await?;
        let answer = node.get(silent.local_addr()?).await;
        assert!(matches!(answer, Err(CallError::Dropped(_))), "{answer:?}");

        let rude = node.run(TcpListener::bind("127.0.0.1:82")).await?;
        let to = rude.local_addr()?;
        node.spawn(async move {
            let (first, _) = rude.accept().await?;
            first.set_zero_linger()?;
            drop(first);
            let (mut second, _) = rude.accept().await?;
            second.write_all(b"HTTP/1.1 200 OK\r\n\r\nwho?").await?;
            second.shutdown().await?;
            // Kept open: closed with the request unread, the kernel would reset it.
            std::future::pending::<std::io::Result<()>>().await
        });
        let answer = node.get(to).await;
        assert!(matches!(answer, Err(CallError::Reset)), "{answer:?}");
        let answer = node.get(to).await;
        assert!(
            matches!(&answer, Err(CallError::Garbled(what)) if what.contains("who?")),
            "{answer:?}"
        );
        Ok(())
    });

    suite.test("telnet_gets_a_bare_answer", &[Need::Netns, Need::Busybox], async || {
        let lab = Lab::new().await?;
        let docker0 = lab.docker0().await?;
        let web = docker0.container("web").await?;
        let _webapp = Webapp::start(&web, 80).await?;
        let mut telnet = lab.host().telnet((web.addr4(), 80).into()).await?;
        while !web.busybox(["netstat", "-tn"]).await?.stdout.contains("ESTABLISHED") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        telnet.type_line("GET /").await?;
        telnet.type_line("").await?;
        let answer = telnet.read_until("Remote IP: 172.17.0.1").await?;
        assert!(answer.contains("Hostname: web"), "{answer:?}");
        assert!(!answer.contains("HTTP/"), "{answer:?}");
        assert!(
            telnet.read_until("Connected to 172.17.0.2").await.is_ok(),
            "{}",
            telnet.transcript()
        );
        Ok(())
    });

    suite.test("other_http_clients_are_served", &[Need::Netns, Need::Busybox], async || {
        let node = Node::new("web").await?;
        let _webapp = Webapp::start(&node, 80).await?;
        let page = "Hostname: web\nRemote IP: 127.0.0.1\n";
        let wget = node.busybox(["wget", "-q", "-O", "-", "http://127.0.0.1/"]).await?;
        assert_eq!(wget.stdout, page, "{wget:?}");
        let listening = node.busybox(["netstat", "-lnt"]).await?;
        assert!(listening.stdout.contains(":::80 "), "{listening:?}");
        Ok(())
    });

    suite.test("curl_keeps_its_connection", &[Need::Netns, Need::Tool("curl")], async || {
        let node = Node::new("web").await?;
        let webapp = Webapp::start(&node, 80).await?;
        let curl = node.exec("curl", ["-s", "http://[::1]/", "http://[::1]/x"]).await?;
        assert_eq!(curl.stdout, "Hostname: web\nRemote IP: ::1\n".repeat(2), "{curl:?}");
        let seen = webapp.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0], seen[1], "one connection, so one port");
        Ok(())
    });
}
