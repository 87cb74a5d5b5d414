//! The tool and containers that it connects to from inside their own namespaces.

use std::{
    env, fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use nix::sys::signal::Signal;
use portmap::BoxError;
use portmap_testkit::{Busybox, Lab, Need, Node, Suite, Webapp};
use tokio::net::{TcpListener, UdpSocket};

use crate::{
    process::{listeners, signal, start},
    support::tool,
};

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns];
    suite.test("publish_connects_from_inside_the_namespace_of_a_process", &netns, of_process);
    suite.test("publish_connects_from_inside_a_namespace_with_a_path", &netns, at_path);
    suite.test("publish_reaches_what_listens_on_ipv6_loopback_alone", &netns, on_ipv6);
    suite.test("publish_knows_its_own_namespace", &netns, own);
    suite.test("publish_refuses_targets_that_lead_to_each_other", &netns, circle);
    suite.test("publish_says_which_namespace_there_is_not", &netns, errors);
    let setpriv = [Need::Netns, Need::Tool("setpriv")];
    suite.test("publish_says_that_a_namespace_may_not_be_entered", &setpriv, refused);
    let user = [Need::Root, Need::Busybox, Need::Tool("setpriv"), Need::Tool("unshare")];
    suite.test("an_ordinary_user_publishes_a_container_of_its_own", &user, ordinary_user);
}

/// A container with nothing but its own loopback interface.
async fn lonely(name: &str) -> Result<Node, BoxError> {
    let container = Node::new(name).await?;
    let listener = container.run(TcpListener::bind((Ipv4Addr::LOCALHOST, 80))).await?;
    let socket = container.run(UdpSocket::bind((Ipv4Addr::LOCALHOST, 80))).await?;
    let (tcp, udp) = (name.to_owned(), name.to_owned());
    container.spawn(async move { Webapp::serve(listener, &tcp).await });
    container.spawn(async move { Webapp::serve_udp(socket, &udp).await });
    Ok(container)
}

/// Both protocols lead to the container.
async fn leads_to(lab: &Lab, port: u16, name: &str) -> Result<(), BoxError> {
    let published = SocketAddr::from((lab.host().addr4(), port));
    for page in [lab.client().get(published).await?, lab.client().ask_udp(published).await?] {
        assert_eq!((page.hostname.as_str(), page.remote_ip), (name, Ipv4Addr::LOCALHOST.into()));
    }
    Ok(())
}

async fn of_process() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let container = lonely("lonely").await?;
    let sleeper = container.command("sleep", ["60"]).await?;
    let pid = sleeper.pid().ok_or("it has ended")?.to_string();
    let mut tool = start(lab.host(), &["8080:80", "8080:80/udp", "--pid", &pid]).await?;
    let said = tool.transcript();
    let found = format!("container of process {pid}, at 127.0.0.1 of its own namespace");
    let wanted = format!(
        "mode proxy: {found} has no address that NAT could lead to\n{found}, by the proxy\n"
    );
    assert!(said.starts_with(&wanted), "{said}");
    leads_to(&lab, 8080, "lonely").await?;
    // The namespace stays as long as it is published, whatever becomes of the process.
    drop(sleeper);
    leads_to(&lab, 8080, "lonely").await?;
    signal(&tool, Signal::SIGINT)?;
    assert!(tool.wait().await?.success(), "{}", tool.transcript());
    assert_eq!(listeners(lab.host()).await?, 0);
    Ok(())
}

async fn at_path() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let (one, two) = (lonely("one").await?, lonely("two").await?);
    let sleepers = [one.command("sleep", ["60"]).await?, two.command("sleep", ["60"]).await?];
    let mut paths = Vec::new();
    for sleeper in &sleepers {
        paths.push(format!("/proc/{}/ns/net", sleeper.pid().ok_or("it has ended")?));
    }
    let other = format!("8081:80@netns:{}", paths[1]);
    let udp = format!("8081:80/udp@netns:{}", paths[1]);
    let specs = ["8080:80", "8080:80/udp", &other, &udp, "--netns", &paths[0]];
    let _tool = start(lab.host(), &specs).await?;
    leads_to(&lab, 8080, "one").await?;
    leads_to(&lab, 8081, "two").await
}

async fn on_ipv6() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let container = Node::new("six").await?;
    let listener = container.run(TcpListener::bind((Ipv6Addr::LOCALHOST, 80))).await?;
    container.spawn(async move { Webapp::serve(listener, "six").await });
    let sleeper = container.command("sleep", ["60"]).await?;
    let pid = sleeper.pid().ok_or("it has ended")?.to_string();
    let _tool = start(lab.host(), &["8080:80", "--pid", &pid]).await?;
    let page = lab.client().get(SocketAddr::from((lab.host().addr4(), 8080))).await?;
    assert_eq!((page.hostname.as_str(), page.remote_ip), ("six", Ipv6Addr::LOCALHOST.into()));
    Ok(())
}

async fn circle() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let tool = tool()?.to_string_lossy().into_owned();
    let args = ["--mode", "proxy", "8080:9090@127.0.0.1", "9090:8080@127.0.0.2"];
    let said = "publish: tcp *:8080 -> 127.0.0.1:9090 leads back to itself by way of tcp *:9090 -> 127.0.0.2:8080\n";
    for dry in [true, false] {
        let args = args.iter().copied().chain(dry.then_some("--dry-run"));
        let ended = lab.host().exec(&tool, args).await?;
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(1), said));
    }
    assert_eq!(listeners(lab.host()).await?, 0);
    Ok(())
}

async fn own() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let tool = tool()?.to_string_lossy().into_owned();
    let sleeper = lab.host().command("sleep", ["60"]).await?;
    let pid = sleeper.pid().ok_or("it has ended")?.to_string();
    let ended = lab.host().exec(&tool, ["8080:8080", "--pid", &pid]).await?;
    let said = "publish: tcp *:8080 -> 127.0.0.1:8080 leads back to this host, where tcp *:8080 -> 127.0.0.1:8080 is published\n";
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(1), said));
    // Elsewhere the same numbers are no circle.
    let container = lonely("lonely").await?;
    let sleeper = container.command("sleep", ["60"]).await?;
    let pid = sleeper.pid().ok_or("it has ended")?.to_string();
    let _tool = start(lab.host(), &["80:80", "80:80/udp", "--pid", &pid]).await?;
    leads_to(&lab, 80, "lonely").await
}

async fn errors() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let tool = tool()?.to_string_lossy().into_owned();
    let cases: [(&[&str], i32, &str); 9] = [
        (
            &["80", "--netns", "/no/such"],
            1,
            "publish: there is no such network namespace: No such file or directory (os error 2) (at /no/such)\n",
        ),
        (
            &["80", "--netns", "/proc/self/ns/uts"],
            1,
            "publish: this is not a network namespace (at /proc/self/ns/uts)\n",
        ),
        (
            &["80@netns:/etc/passwd"],
            1,
            "publish: this is not a network namespace (at /etc/passwd)\n",
        ),
        // Beyond pid_max there is none.
        (&["80", "--pid", "99999999"], 1, "publish: there is no process 99999999\n"),
        (&["80@netns:"], 2, "netns: is without a path\n"),
        (&["80", "--pid", "0"], 2, "\"0\" is not the number of a process\n"),
        (&["80@pid:-1"], 2, "\"-1\" is not the number of a process\n"),
        (&["80", "--docker", "../images"], 2, "\"../images\" cannot be the name of a container\n"),
        (&["80", "--pid", "1", "--to", "192.0.2.2"], 2, "cannot be used with"),
    ];
    for (args, status, message) in cases {
        let ended = lab.host().exec(&tool, args.iter().copied()).await?;
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(message), "{args:?}: {}", ended.stderr);
    }
    let container = lonely("lonely").await?;
    let sleeper = container.command("sleep", ["60"]).await?;
    let pid = sleeper.pid().ok_or("it has ended")?.to_string();
    let ended = lab.host().exec(&tool, ["80", "--source", "transparent", "--pid", &pid]).await?;
    let needs = "publish: --source transparent needs a container's address on this host: ";
    assert!(ended.stderr.starts_with(needs), "{}", ended.stderr);
    assert_eq!(listeners(lab.host()).await?, 0);
    Ok(())
}

async fn refused() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let container = lonely("lonely").await?;
    let sleeper = container.command("sleep", ["60"]).await?;
    let pid = sleeper.pid().ok_or("it has ended")?.to_string();
    let tool = tool()?.to_string_lossy().into_owned();
    let without = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    let args = without.into_iter().chain([tool.as_str(), "8080:80", "--pid", &pid]);
    let ended = lab.host().exec("setpriv", args).await?;
    let said = format!(
        "publish: the network namespace may not be entered: Operation not permitted (os error 1): \
         the one of process {pid} is for root, or for who owns its user namespace\n"
    );
    assert_eq!((ended.status.code(), ended.stderr), (Some(1), said));
    Ok(())
}

async fn ordinary_user() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let busybox = Busybox::find()?.path().to_string_lossy().into_owned();
    let folder = env::temp_dir().join(format!("portmap-inside-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("index.html"), "hello\n")?;
    // What an ordinary user can start: a user and a network namespace, with lo alone.
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let serve = format!(
        "{busybox} ip link set lo up && exec {busybox} httpd -f -p 127.0.0.1:80 -h {}",
        folder.display()
    );
    let inside = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", &serve];
    let container = host.command("setpriv", nobody.into_iter().chain(inside)).await?;
    let pid = container.pid().ok_or("it has ended")?.to_string();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;

    let tool = tool()?.to_string_lossy().into_owned();
    let args = [tool.as_str(), "8080:80", "--pid", &pid];
    let mut tool = host.command("setpriv", nobody.into_iter().chain(args)).await?;
    tool.read_until("Ctrl-C ends it.\n").await?;
    let url = format!("http://{}:8080/index.html", host.addr4());
    for _ in 0..3 {
        let page = lab.client().busybox(["wget", "-q", "-O", "-", &url]).await?;
        assert_eq!(page.stdout, "hello\n", "{}", page.stderr);
    }
    signal(&tool, Signal::SIGINT)?;
    assert!(tool.wait().await?.success(), "{}", tool.transcript());
    // The helper has gone, too.
    let left = host.exec("pgrep", ["-f", &format!("__sockets-of {pid}")]).await?;
    assert_eq!(left.stdout, "");
    Ok(fs::remove_dir_all(&folder)?)
}
