//! Dialling from inside a container's network namespace.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use portmap::{
    BoxError, PortMapper, ProxyMapper,
    proxy::{NetnsDial, NetnsError},
};
use portmap_testkit::{Lab, Need, Node, Suite, Webapp};
use tokio::net::{TcpListener, UdpSocket};

use crate::support::request;

pub(crate) fn tests(suite: &mut Suite) {
    suite.test("a_container_without_a_network_is_published", &[Need::Netns], without_network);
    suite.test("a_process_stands_for_its_namespace", &[Need::Netns], of_process);
    suite.test("what_is_no_namespace_is_an_error", &[Need::Netns], errors);
}

/// A namespace with nothing but its loopback interface, and a webapp that listens there alone.
async fn lonely() -> Result<Node, BoxError> {
    let container = Node::new("lonely").await?;
    let listener = container.run(TcpListener::bind((Ipv4Addr::LOCALHOST, 80))).await?;
    container.spawn(async move { Webapp::serve(listener, "lonely").await });
    let socket = container.run(UdpSocket::bind((Ipv4Addr::LOCALHOST, 80))).await?;
    container.spawn(async move { Webapp::serve_udp(socket, "lonely").await });
    Ok(container)
}

async fn publish_by(dial: NetnsDial) -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let wanted = request(Ipv4Addr::LOCALHOST.into(), &["8080:80", "8080:80/udp"])?;
    let mapper = ProxyMapper::new().session_dial(dial.sessions()).dial(dial);
    let lease = lab.host().run(async move { mapper.publish(wanted).await }).await?;
    let published = SocketAddr::from((lab.host().addr4(), 8080));
    for page in [lab.client().get(published).await?, lab.client().ask_udp(published).await?] {
        let seen = (page.hostname.as_str(), page.remote_ip);
        assert_eq!(seen, ("lonely", IpAddr::from(Ipv4Addr::LOCALHOST)));
    }
    lease.release().await?;
    Ok(())
}

async fn without_network() -> Result<(), BoxError> {
    use std::os::fd::AsFd;

    let container = lonely().await?;
    let namespace = container.as_fd().try_clone_to_owned()?;
    publish_by(NetnsDial::entering(namespace)?).await
}

async fn of_process() -> Result<(), BoxError> {
    let container = lonely().await?;
    let sleeper = container.command("sleep", ["60"]).await?;
    let pid = sleeper.pid().ok_or("it has ended")?;
    publish_by(NetnsDial::of_process(pid)?).await?;
    publish_by(NetnsDial::at(format!("/proc/{pid}/ns/net"))?).await
}

async fn errors() -> Result<(), BoxError> {
    assert!(matches!(NetnsDial::at("/no/such/namespace"), Err(NetnsError::Open(_))));
    assert!(matches!(NetnsDial::of_process(0), Err(NetnsError::NoProcess(0))));
    assert!(matches!(NetnsDial::of_process(u32::MAX), Err(NetnsError::NoProcess(_))));
    // Beyond pid_max there is none.
    assert!(matches!(NetnsDial::of_process(99_999_999), Err(NetnsError::NoProcess(99_999_999))));
    assert!(matches!(NetnsDial::at("/etc/passwd"), Err(NetnsError::NotANamespace)));
    assert!(matches!(NetnsDial::at("/proc/self/ns/uts"), Err(NetnsError::NotANamespace)));
    Ok(())
}
