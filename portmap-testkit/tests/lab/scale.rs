//! Many at once, how long they take, and who may make them.

use std::env;
use std::fs;
use std::time::Instant;

use futures::future::try_join_all;
use portmap_testkit::{BoxError, Lab, Need, Node, Suite, Webapp};
use tokio::process::Command;

pub(crate) fn add(suite: &mut Suite) {
    suite.test("twenty_labs_live_side_by_side", &[Need::Netns], async || {
        let labs = try_join_all((0..20).map(async |_| {
            let lab = Lab::new().await?;
            let docker0 = lab.docker0().await?;
            let web = docker0.container("web").await?;
            let webapp = Webapp::start(&web, 80).await?;
            let page = lab.host().get((web.addr4(), 80).into()).await?;
            assert_eq!(page.remote_ip, docker0.gateway4());
            Ok::<_, BoxError>((webapp, web, docker0, lab))
        }));
        assert_eq!(labs.await?.len(), 20);
        Ok(())
    });

    suite.test("building_is_quick", &[Need::Netns], async || {
        let node = timed("a bare node", 20, async || Node::new("bare").await).await?;
        let lab = timed("a lab (3 namespaces)", 10, async || Lab::new().await).await?;
        let docker0 = lab[0].docker0().await?;
        let web = timed("a container", 20, async || docker0.container("web").await).await?;
        let start = Instant::now();
        let count = node.len() + 3 * lab.len() + web.len();
        drop((web, docker0, lab, node));
        eprintln!("dropped {count} namespaces in {:?}", start.elapsed());
        Ok(())
    });

    suite.test(
        "an_ordinary_user_gets_the_same",
        &[Need::Root, Need::Tool("setpriv")],
        async || {
            if forbidden() {
                eprintln!("user namespaces are forbidden here: not tried");
                return Ok(());
            }
            // The user can't read where we were built; and a process may write its own uid_map only if
            // its file is readable to it.
            let place = env::temp_dir().join(format!("portmap-testkit-{}", std::process::id()));
            fs::copy(env::current_exe()?, &place)?;
            let output = Command::new("setpriv")
                .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
                .args(["env", "PORTMAP_REQUIRE=netns"])
                .arg(&place)
                .args(["--skip", "twenty_labs", "--skip", "building"])
                .kill_on_drop(true)
                .output()
                .await;
            fs::remove_file(&place)?;
            let output = output?;
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}\n{}", stdout, stderr);
            assert!(stdout.contains("1 ignored"), "as root again? {}", stdout);
            Ok(())
        },
    );
}

async fn timed<T, E>(
    what: &str,
    count: u32,
    make: impl AsyncFn() -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let start = Instant::now();
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(make().await?);
    }
    eprintln!("{what}: {:?} each", start.elapsed() / count);
    Ok(made)
}

fn forbidden() -> bool {
    let reads =
        |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    reads("/proc/sys/user/max_user_namespaces", "0")
        || reads("/proc/sys/kernel/unprivileged_userns_clone", "0")
        || reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")
}
