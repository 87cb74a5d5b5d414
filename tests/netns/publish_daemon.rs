//! The tool and a Docker that is not well: it takes no harm, says what is wrong, and goes on when Docker does.

use std::{fs, net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;
use portmap::BoxError;
use portmap_testkit::{Child, ChildError, Lab, Need, Node, Suite, Webapp};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    engine::{Engine, FAILED, Fault},
    process::signal,
    publish_rules::end,
    support::tool,
};

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns];
    suite.test("publish_and_docker_that_answers_without_end", &netns, refused);
    suite.test("publish_and_docker_that_does_not_answer", &netns, silent);
    suite.test("publish_and_docker_that_is_well_again", &netns, followed);
    suite.test("publish_and_docker_whose_words_are_data", &netns, as_data);
}

/// What the tool may keep of an answer, and some more for a debug build.
const MEMORY: usize = 64 << 10;

async fn start(host: &Node, engine: &Engine, more: &[&str]) -> Result<Child, BoxError> {
    let (docker, path) = (format!("DOCKER_HOST={}", engine.host()), tool()?);
    let words = [&docker, &*path.to_string_lossy(), "8080:80", "--docker=web", "--mode=proxy"];
    Ok(host.command("env", words.into_iter().chain(more.iter().copied())).await?)
}

/// The most that a process ever had in memory, in KiB.
fn most_memory(tool: &Child) -> Result<usize, BoxError> {
    let pid = tool.pid().ok_or("it has ended")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(number.parse()?)
}

async fn refused() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let engine = Engine::new()?;
    let asked = format!(
        "publish: Docker cannot be asked at {}: ",
        engine.host().replacen("unix://", "", 1)
    );
    for (fault, said) in [
        (Fault::EndlessHead, "the head of the answer is longer than 16384 bytes\n"),
        (Fault::EndlessBody, "the answer is longer than 8388608 bytes\n"),
        (Fault::Short, "the answer ends too early\n"),
        (Fault::Babbling, "the answer is not HTTP: "),
    ] {
        engine.set_fault(Some(fault));
        let mut tool = start(lab.host(), &engine, &[]).await?;
        // Before its end: what it has printed may be read after that.
        tool.read_until(said).await?;
        assert_eq!(tool.wait().await?.code(), Some(1), "{fault:?}");
        let told = tool.transcript();
        assert!(told.starts_with(&format!("{asked}{said}")), "{fault:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    engine.set_fault(Some(Fault::Failing));
    let mut tool = start(lab.host(), &engine, &[]).await?;
    tool.read_until("really\n").await?;
    assert_eq!(tool.wait().await?.code(), Some(1));
    let said = r"publish: Docker answered 500: \u{1b}[2J\u{9b}31m failed \u{202e}really";
    assert_eq!(tool.transcript(), format!("{said}\n"));
    Ok(())
}

async fn silent() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let mut engine = Engine::new()?;
    engine.set_fault(Some(Fault::Silent));
    for kind in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut tool = start(lab.host(), &engine, &[]).await?;
        engine.asked().await?;
        let begun = Instant::now();
        signal(&tool, kind)?;
        assert!(tool.wait().await?.success(), "{}", tool.transcript());
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(tool.transcript(), "");
    }
    Ok(())
}

async fn followed() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let (host, client) = (lab.host(), lab.client());
    let docker0 = lab.docker0().await?;
    let (one, two) = (docker0.container("one").await?, docker0.container("two").await?);
    let _webapps = [Webapp::start(&one, 80).await?, Webapp::start(&two, 80).await?];
    let engine = Engine::new()?;
    engine.start(&docker0, one.addr4());
    let mut tool = start(host, &engine, &[]).await?;
    tool.read_until("Ctrl-C ends it.\n").await?;
    let to = SocketAddr::from((host.addr4(), 8080));
    let mut at = one.addr4();
    for (fault, said) in [
        (Fault::EndlessEvent, "an event is longer than 1048576 bytes; its ports stay published\n"),
        (Fault::EndlessHead, "the head of the answer is longer than 16384 bytes; its ports stay"),
        (Fault::Short, "the answer ends too early; its ports stay published\n"),
    ] {
        engine.set_fault(Some(fault));
        tool.read_until("container web is not followed for now: Docker cannot be asked at ")
            .await?;
        tool.read_until(said).await?;
        // Whoever calls is served meanwhile.
        let before = if at == one.addr4() { "one" } else { "two" };
        assert_eq!(client.get(to).await?.hostname, before);
        at = if at == one.addr4() { two.addr4() } else { one.addr4() };
        engine.set_fault(None);
        engine.start(&docker0, at);
        let now = format!("container web of Docker, at {at} now\n");
        patiently(&mut tool, &now).await?;
        patiently(&mut tool, "container web is followed again\n").await?;
        assert_ne!(client.get(to).await?.hostname, before);
    }
    // One that has gone for a moment, and whose container goes on.
    engine.set_fault(Some(Fault::Babbling));
    patiently(&mut tool, "the answer is not HTTP: ").await?;
    engine.set_fault(None);
    patiently(&mut tool, "container web is followed again\n").await?;
    let most = most_memory(&tool)?;
    assert!(most < MEMORY, "{most} KiB");
    end(&mut tool, Signal::SIGINT).await
}

/// Waits longer than usual: the pauses between tries grow.
pub(crate) async fn patiently(tool: &mut Child, text: &str) -> Result<(), BoxError> {
    for _ in 0..6 {
        match tool.read_until(text).await {
            Err(ChildError::Silent { .. }) => {}
            other => return Ok(other.map(drop)?),
        }
    }
    Err(format!("no {text:?} in {}", tool.transcript()).into())
}

async fn as_data() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let docker0 = lab.docker0().await?;
    let one = docker0.container("one").await?;
    let engine = Engine::new()?;
    engine.start(&docker0, one.addr4());
    let mut tool = start(host, &engine, &["--json"]).await?;
    tool.read_until("\"event\":\"published\"").await?;
    engine.set_fault(Some(Fault::Failing));
    tool.read_until("Docker answered 500").await?;
    tool.read_until("\n").await?;
    signal(&tool, Signal::SIGINT)?;
    assert!(tool.wait().await?.success(), "{}", tool.transcript());
    let said = tool.transcript();
    let is_plain = |char: char| char == '\n' || char == ' ' || char.is_ascii_graphic();
    assert!(said.chars().all(is_plain), "{said:?}");
    let events = said.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let notes: Vec<_> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert!(notes.iter().any(|note| note.contains(FAILED)), "{notes:?}");
    Ok(())
}
