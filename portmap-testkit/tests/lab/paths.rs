//! Who reaches whom, and who is seen to call.

use std::net::{IpAddr, SocketAddr};

use portmap_testkit::{CallError, Lab, Need, Node, Suite, TestResult, Webapp};

pub(crate) fn add(suite: &mut Suite) {
    suite.test("host_and_client_reach_each_other_over_both_families", &[Need::Netns], async || {
        let lab = Lab::new().await?;
        reaches(lab.client(), lab.host()).await?;
        reaches(lab.host(), lab.client()).await
    });

    suite.test("the_lan_has_the_addresses_of_the_pictures", &[Need::Netns], async || {
        let lab = Lab::new().await?;
        let second = lab.outside("second").await?;
        let addresses =
            |node: &Node| node.addresses().iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(addresses(lab.host()), ["192.168.33.2", "2001:db8:33::2"]);
        assert_eq!(addresses(lab.client()), ["192.168.33.10", "2001:db8:33::10"]);
        assert_eq!(addresses(&second), ["192.168.33.11", "2001:db8:33::11"]);
        Ok(())
    });

    suite.test("further_outside_nodes_join_the_lan", &[Need::Netns], async || {
        let lab = Lab::new().await?;
        let second = lab.outside("second").await?;
        reaches(&second, lab.host()).await?;
        reaches(&second, lab.client()).await
    });

    suite.test("a_container_reaches_its_gateway_and_its_neighbour", &[Need::Netns], async || {
        let lab = Lab::new().await?;
        let docker0 = lab.docker0().await?;
        let web = docker0.container("web").await?;
        let db = docker0.container("db").await?;
        assert_eq!(web.addr4().to_string(), "172.17.0.2");
        assert_eq!(web.addr6().to_string(), "fd00:172:17::2");
        assert_eq!(db.addr4().to_string(), "172.17.0.3");
        reaches(&web, &db).await?;

        let _webapp = Webapp::start(lab.host(), 80).await?;
        for gateway in
            [IpAddr::from(web.gateway4()), web.gateway6().ok_or("no IPv6 gateway")?.into()]
        {
            let page = web.get(SocketAddr::new(gateway, 80)).await?;
            assert!(web.addresses().contains(&page.remote_ip), "{page}");
        }
        Ok(())
    });

    suite.test("a_container_is_called_by_the_gateway_from_its_host", &[Need::Netns], async || {
        let lab = Lab::new().await?;
        let br0 = lab.br0().await?;
        let web = br0.container("web").await?;
        let _webapp = Webapp::start(&web, 80).await?;
        let page = lab.host().get((web.addr4(), 80).into()).await?;
        assert_eq!(
            (page.hostname.as_str(), page.remote_ip.to_string()),
            ("web", "192.168.99.1".to_owned())
        );
        let page = lab.host().get((web.addr6(), 80).into()).await?;
        assert_eq!(page.remote_ip.to_string(), "fd00:192:99::1");
        Ok(())
    });

    suite.test(
        "bridges_are_joined_by_a_host_that_forwards_and_not_before",
        &[Need::Netns],
        async || {
            let lab = Lab::new().await?;
            let (docker0, br0) = (lab.docker0().await?, lab.br0().await?);
            let web = docker0.container("web").await?;
            let busy = br0.container("busy").await?;
            let _webapp = Webapp::start(&web, 80).await?;
            let answer = busy.get((web.addr4(), 80).into()).await;
            assert!(matches!(answer, Err(CallError::Dropped(_))), "{answer:?}");

            forward(lab.host()).await?;
            reaches(&busy, &web).await?;
            let page = busy.get((lab.host().addr4(), 80).into()).await;
            assert!(matches!(page, Err(CallError::Refused)), "{page:?}");
            Ok(())
        },
    );

    suite.test("an_outsider_finds_containers_only_with_a_route", &[Need::Netns], async || {
        let lab = Lab::new().await?;
        forward(lab.host()).await?;
        let docker0 = lab.docker0().await?;
        let web = docker0.container("web").await?;
        let _webapp = Webapp::start(&web, 80).await?;
        let to = SocketAddr::from((web.addr4(), 80));
        let answer = lab.client().get(to).await;
        assert!(matches!(answer, Err(CallError::Unreachable)), "{answer:?}");

        lab.client().add_route(docker0.subnet4().into(), lab.host().addr4().into()).await?;
        let subnet6 = docker0.subnet6().ok_or("no IPv6 subnet")?;
        lab.client().add_route(subnet6.into(), lab.host().addr6().into()).await?;
        reaches(lab.client(), &web).await
    });
}

/// Calls over both families, TCP and UDP, and has the callee see the caller's own address.
async fn reaches(from: &Node, to: &Node) -> TestResult {
    let webapp = Webapp::start(to, 8000).await?;
    for (caller, callee) in from.addresses().into_iter().zip(to.addresses()) {
        let callee = SocketAddr::new(callee, 8000);
        for page in [from.get(callee).await?, from.ask_udp(callee).await?] {
            assert_eq!((page.hostname.as_str(), page.remote_ip), (to.name(), caller));
        }
    }
    assert_eq!(webapp.seen().len(), 4);
    Ok(())
}

async fn forward(node: &Node) -> TestResult {
    node.sysctl("net/ipv4/ip_forward", "1").await?;
    node.sysctl("net/ipv6/conf/all/forwarding", "1").await?;
    Ok(())
}
