//! Following a container from start to start.

use std::time::Duration;

use portmap::BoxError;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::sleep,
};

use super::{Docker, http};

/// How long is waited before a daemon that has gone is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// What can change the way to a container. A network's events have the container as an attribute, by which Docker doesn't
/// filter: so all containers' come, and there are few.
const FILTERS: &str =
    r#"{"type":["container","network"],"event":["start","die","connect","disconnect"]}"#;

/// Calls `changed` whenever the way to a container may have changed, until it is dropped.
pub(crate) async fn follow(docker: &Docker, mut changed: impl AsyncFnMut()) {
    loop {
        if let Err(error) = listen(docker, &mut changed).await {
            tracing::debug!(error, "Docker tells no events");
        }
        sleep(PAUSE).await;
    }
}

async fn listen(docker: &Docker, changed: &mut impl AsyncFnMut()) -> Result<(), BoxError> {
    let answer =
        http::get(&docker.socket, &format!("/events?filters={}", escaped(FILTERS))).await?;
    if answer.status != 200 {
        return Err(format!("Docker answered {} when asked for events", answer.status).into());
    }
    let mut events = BufReader::new(answer.into_body()).lines();
    // What happened before they were asked for is in none of them.
    changed().await;
    while events.next_line().await?.is_some() {
        changed().await;
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
