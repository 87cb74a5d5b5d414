//! Hearing of what may have changed the way to a container.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    Docker, DockerError,
    error::Unheard,
    http::{self, Answer},
};

/// What can change the way to a container. A network's events have the container as an attribute, by which Docker doesn't
/// filter: so all containers' come, and there are few.
const FILTERS: &str =
    r#"{"type":["container","network"],"event":["start","die","connect","disconnect"]}"#;

/// The longest event that is one: it has the labels of its container, some hundred kB at the most.
const MOST: usize = 1 << 20;

/// Docker's events, from when they were asked for. What is in them does not matter, so nothing of them is kept.
pub(crate) struct Events {
    docker: Docker,
    body: Box<dyn AsyncRead + Unpin + Send>,
    buffer: Box<[u8]>,
    /// How much has come of the event that is not over yet.
    begun: usize,
}

impl Events {
    /// Asks for events.
    pub(crate) async fn of(docker: &Docker) -> Result<Self, DockerError> {
        let path = format!("/events?filters={}", escaped(FILTERS));
        let unheard = |cause| docker.unheard(cause);
        let answer = http::get(&docker.socket, &path).await.map_err(unheard)?;
        if answer.status != 200 {
            return Err(docker.refused(answer).await);
        }
        let body = Box::new(Answer::into_body(answer));
        Ok(Self { docker: docker.clone(), body, buffer: vec![0; 16 << 10].into(), begun: 0 })
    }

    /// Waits for an event, or for several that come together. Fails when no more come.
    ///
    /// Cancel safety: what has come in part goes on in the next call.
    pub(crate) async fn next(&mut self) -> Result<(), DockerError> {
        let wrong = loop {
            let read = match self.body.read(&mut self.buffer).await {
                Ok(0) => break Unheard::Short,
                Ok(read) => read,
                Err(error) => break Unheard::Socket(error),
            };
            match self.buffer[..read].iter().rposition(|byte| *byte == b'\n') {
                Some(end) => {
                    self.begun = read - end - 1;
                    return Ok(());
                }
                None => self.begun += read,
            }
            if self.begun > MOST {
                break Unheard::Long { part: "an event", most: MOST };
            }
        };
        Err(self.docker.unheard(wrong))
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
