//! Docker, asked over its socket. Nothing is changed there.

mod bridge;
mod container;
mod events;
mod http;
mod name;

use std::{env, path::PathBuf};

use portmap::BoxError;
use serde::de::DeserializeOwned;

pub(crate) use self::{container::reach, events::follow, name::ContainerName};

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
    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, BoxError> {
        let answer = http::get(&self.socket, path).await?;
        match answer.status {
            200 => Ok(Some(serde_json::from_slice(&answer.body().await?)?)),
            404 => Ok(None),
            status => {
                let said = answer.body().await?;
                Err(format!("Docker answered {status}: {}", String::from_utf8_lossy(&said).trim())
                    .into())
            }
        }
    }
}
