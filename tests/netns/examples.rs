//! Examples that do more with privilege than without.

use std::path::PathBuf;

use portmap::BoxError;
use portmap_testkit::{Lab, Need, Output, Suite, Webapp};

use crate::support::{network_of, tool};

pub(crate) fn tests(suite: &mut Suite) {
    let setpriv = [Need::Netns, Need::Tool("setpriv"), Need::Tool("nft")];
    suite.test("a_mapper_is_chosen_by_what_this_process_may", &setpriv, choose);
}

/// What takes a program's privileges, and leaves its user.
const WITHOUT: [&str; 3] = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];

fn example(name: &str) -> Result<PathBuf, BoxError> {
    Ok(tool()?.with_file_name(name))
}

fn said(output: &Output) -> Result<&str, BoxError> {
    match output.status.success() {
        true => Ok(&output.stdout),
        false => Err(format!("{}{}", output.stdout, output.stderr).into()),
    }
}

async fn choose() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let bridge = lab.docker0().await?;
    let container = bridge.container("web").await?;
    let _webapp = Webapp::start(container.node(), 80).await?;
    let (network, addr) = (network_of(&bridge)?.to_string(), container.addr4().to_string());
    let choose = example("choose")?.to_string_lossy().into_owned();
    let args = [choose.as_str(), &network, &addr, "8080:80"];
    let page = format!("Remote IP: {}\n", bridge.gateway4());

    let ran = host.exec(args[0], args[1..].iter().copied()).await?;
    let binding = format!("by NAT and the proxy\ntcp *:8080 -> {addr}:80\n");
    assert!(said(&ran)?.starts_with(&binding) && ran.stdout.ends_with(&page), "{}", ran.stdout);
    let left = host.exec("nft", ["list", "tables"]).await?.stdout;
    assert!(!left.contains("portmap"), "{left}");

    let ran = host.exec("setpriv", WITHOUT.into_iter().chain(args)).await?;
    assert!(said(&ran)?.starts_with("by the proxy alone: "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(&page), "{}", ran.stdout);
    Ok(())
}
