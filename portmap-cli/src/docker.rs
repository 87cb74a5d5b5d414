//! Docker, asked over its socket. Nothing is changed there.

mod bridge;
mod container;
mod error;
mod events;
mod http;
mod name;

use std::{env, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};

pub(crate) use self::{container::reach, error::DockerError, events::Events, name::ContainerName};
use self::{error::Unheard, http::Answer};

/// As much of an error's text as anybody reads, in characters.
const MOST: usize = 1000;

/// The daemon's socket.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    socket: PathBuf,
}

impl Docker {
    /// Docker's own socket, or the one that `DOCKER_HOST` names.
    pub(crate) fn from_env() -> Result<Self, String> {
        let named = env::var("DOCKER_HOST").unwrap_or_default();
        match named.split_once("://") {
            None if named.is_empty() => Ok(Self { socket: "/var/run/docker.sock".into() }),
            Some(("unix", path)) => Ok(Self { socket: path.into() }),
            _ => Err(format!("DOCKER_HOST is {named:?}: only unix:///PATH leads to this host")),
        }
    }

    /// What the daemon says of something; `None` where it knows nothing by that name.
    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, DockerError> {
        let unheard = |cause| self.unheard(cause);
        let answer = http::get(&self.socket, path).await.map_err(unheard)?;
        match answer.status {
            200 => {
                let body = answer.body().await.map_err(unheard)?;
                serde_json::from_slice(&body).map_err(|error| unheard(Unheard::Json(error)))
            }
            404 => Ok(None),
            _ => Err(self.refused(answer).await),
        }
    }

    fn unheard(&self, cause: Unheard) -> DockerError {
        DockerError::Unheard { socket: self.socket.clone(), cause }
    }

    /// Reads why it says no.
    async fn refused(&self, answer: Answer) -> DockerError {
        let status = answer.status;
        match answer.body().await {
            Ok(body) => DockerError::Refused { status, said: said(&body) },
            Err(cause) => self.unheard(cause),
        }
    }
}

/// What an answer that is none has to say: Docker's own are `{"message": ".."}`.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let text = match serde_json::from_slice(body) {
        Ok(Said { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.trim().chars().take(MOST).collect()
}
