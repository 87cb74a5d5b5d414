//! Real containers in a lab, and nothing left of them.

use std::env;
use std::future::pending;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::process::{self, ExitCode};
use std::time::Duration;

use futures::FutureExt;
use portmap_testkit::{BoxError, Docker, Lab, Need, Node, Page, Suite, TestResult};
use tokio::time::timeout;

const NEEDS: [Need; 4] = [Need::Netns, Need::Root, Need::Busybox, Need::Docker];

/// Set in a copy of this process that is to be killed.
const VICTIM: &str = "PORTMAP_TEST_VICTIM";

fn main() -> ExitCode {
    // One test at a time: what is left is looked for in the whole daemon.
    let mut suite = Suite::from_args().serial();
    if env::var_os(VICTIM).is_some() {
        suite.test("victim", &NEEDS, victim);
    }
    suite.test("a_real_container_is_a_container", &NEEDS, is_a_container);
    suite.test("programs_run_inside_a_real_container", &NEEDS, runs_programs);
    suite.test("a_dropped_container_leaves_nothing", &NEEDS, leaves_nothing);
    suite.test("a_panic_leaves_nothing", &NEEDS, panics);
    suite.test("a_start_that_is_given_up_leaves_nothing", &NEEDS, given_up);
    suite.test("what_a_killed_process_leaves_is_swept", &NEEDS, sweeps);
    suite.test("what_docker_refuses_is_an_error_and_leaves_nothing", &NEEDS, refuses);
    suite.run()
}

async fn is_a_container() -> TestResult {
    let (lab, docker) = (Lab::new().await?, Docker::open().await?);
    let bridge = lab.docker0().await?;
    let web = docker.webapp(&bridge, "web", 80).await?;
    let neighbour = bridge.container("neighbour").await?;
    for (to, from) in [
        (IpAddr::from(web.addr4()), IpAddr::from(neighbour.addr4())),
        (web.addr6().into(), neighbour.addr6().into()),
    ] {
        let page = Page { hostname: "web".to_owned(), remote_ip: from };
        assert_eq!(neighbour.get((to, 80).into()).await?, page);
        assert_eq!(neighbour.ask_udp((to, 80).into()).await?, page);
    }
    // Empty datagrams and requests typed into telnet, as with the webapp of a node.
    let mut telnet = neighbour.telnet((web.addr4(), 80).into()).await?;
    telnet.type_line("GET /\n").await?;
    telnet.read_until("Remote IP: 172.17.0.3\n").await?;
    let empty =
        neighbour.run(Page::ask_udp((web.addr4(), 80).into(), vec![], Duration::from_secs(1)));
    assert_eq!(empty.await?.hostname, "web");
    let status = web.exec("busybox", ["wget", "-qO-", "http://127.0.0.1/"]).await?;
    assert!(status.stdout.contains("Remote IP: 127.0.0.1"), "{status:?}");
    Ok(())
}

async fn runs_programs() -> TestResult {
    let (lab, docker) = (Lab::new().await?, Docker::open().await?);
    let bridge = lab.docker0().await?;
    let web = docker.webapp(&bridge, "web", 8000).await?;
    let caller = docker.busybox(&bridge, "caller").await?;
    let inside = caller.real().ok_or("it is real")?;
    let url = format!("http://{}:8000/", web.addr4());
    let output = inside.exec(["wget", "-qO-", &url]).await?;
    assert_eq!(output.stdout, format!("Hostname: web\nRemote IP: {}\n", caller.addr4()));
    let output = inside.exec(["sh", "-c", "echo a; echo b >&2; exit 3"]).await?;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("a\n", "b\n"));
    assert_eq!(output.status.code(), Some(3));
    // A root of its own, and a network that is the lab's alone.
    assert_eq!(inside.exec(["cat", "/etc/hostname"]).await?.stdout, "caller\n");
    assert!(matches!(inside.exec(["ls"]).await?.status.code(), Some(126 | 127)));
    let links = inside.exec(["ip", "-o", "link"]).await?.stdout;
    assert_eq!(links.lines().count(), 2, "{links}");
    Ok(())
}

async fn leaves_nothing() -> TestResult {
    let (lab, docker) = (Lab::new().await?, Docker::open().await?);
    let bridge = lab.docker0().await?;
    let web = docker.webapp(&bridge, "web", 80).await?;
    assert_eq!(left_of(process::id()).await?.len(), 2, "a container and the image");
    drop(docker);
    assert_eq!(web.get((web.addr4(), 80).into()).await?.hostname, "web");
    drop(web);
    assert!(left_of(process::id()).await?.is_empty());
    Ok(())
}

async fn panics() -> TestResult {
    let body = async || -> TestResult {
        let (lab, docker) = (Lab::new().await?, Docker::open().await?);
        let bridge = lab.docker0().await?;
        let _web = docker.webapp(&bridge, "web", 80).await?;
        panic!("on purpose");
    };
    let panic = AssertUnwindSafe(body()).catch_unwind().await.expect_err("it panics");
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    assert!(left_of(process::id()).await?.is_empty());
    Ok(())
}

async fn given_up() -> TestResult {
    let (lab, docker) = (Lab::new().await?, Docker::open().await?);
    let bridge = lab.docker0().await?;
    for millis in [1, 30, 100, 200, 400, 600] {
        let limit = Duration::from_millis(millis);
        // Whether it was done by then is not the point.
        drop(timeout(limit, docker.webapp(&bridge, "web", 80)).await);
    }
    drop(docker);
    // What had begun is done to its end first.
    for _ in 0..100 {
        if left_of(process::id()).await?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("left: {:?}", left_of(process::id()).await?).into())
}

async fn sweeps() -> TestResult {
    let (lab, docker) = (Lab::new().await?, Docker::open().await?);
    let program = env::current_exe()?.to_string_lossy().into_owned();
    let command = format!("{VICTIM}=1 exec '{program}' --exact victim --nocapture");
    let mut victim = lab.host().command("sh", ["-c", &command]).await?;
    victim.read_until("victim is ready").await?;
    let pid = victim.pid().ok_or("it runs")?;
    assert_eq!(left_of(pid).await?.len(), 2);

    // One that lives is left alone; also the one that sweeps.
    drop(docker);
    let docker = Docker::open().await?;
    assert_eq!(left_of(pid).await?.len(), 2);
    assert_eq!(left_of(process::id()).await?.len(), 1);

    drop(victim);
    drop(docker);
    for _ in 0..100 {
        // It is killed when it is dropped, and dead soon after.
        drop(Docker::open().await?);
        if left_of(pid).await?.is_empty() {
            return Ok(());
        }
    }
    Err(format!("left: {:?}", left_of(pid).await?).into())
}

async fn victim() -> TestResult {
    let (lab, docker) = (Lab::new().await?, Docker::open().await?);
    let bridge = lab.docker0().await?;
    let _web = docker.webapp(&bridge, "web", 80).await?;
    eprintln!("victim is ready");
    pending().await
}

async fn refuses() -> TestResult {
    let (lab, docker) = (Lab::new().await?, Docker::open().await?);
    let bridge = lab.docker0().await?;
    // Longer than a hostname can be: the daemon makes the container, and cannot start it.
    let name = "x".repeat(100);
    let refused = docker.webapp(&bridge, &name, 80).await.expect_err("it is no name");
    assert!(refused.to_string().contains(&name), "{refused}");
    assert_eq!(left_of(process::id()).await?.len(), 1, "the image");
    let web = docker.webapp(&bridge, "web", 80).await?;
    assert!(web.real().ok_or("it is real")?.exec(Vec::<String>::new()).await.is_err());
    Ok(())
}

/// The containers and images that a process has in the daemon.
async fn left_of(pid: u32) -> Result<Vec<String>, BoxError> {
    let here = Node::current().await?;
    let form = "{{.Label \"portmap-testkit\"}}";
    let containers = ["ps", "--all", "--filter", "label=portmap-testkit", "--format", form];
    let images = ["images", "--filter", "label=portmap-testkit", "--format", "{{.Tag}}"];
    let containers = here.exec("docker", containers).await?.stdout;
    let images = here.exec("docker", images).await?.stdout;
    let all = containers.lines().chain(images.lines());
    let of = format!("-{pid}-");
    Ok(all.filter(|line| line.contains(&of)).map(str::to_owned).collect())
}
