//! What only a real container can do.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures::TryStreamExt;
use testcontainers::{ContainerAsync, GenericImage};
use tokio::time::{sleep, timeout};

use super::engine;
use super::image::Image;
use crate::exec::{ExecError, LIMIT, Output};

/// A container of Docker's. Dropping it removes it, and waits for that.
pub struct RealContainer {
    /// `None` while it is dropped.
    process: Option<ContainerAsync<GenericImage>>,
    id: String,
    pid: u32,
    token: String,
    /// Stays at least as long as its containers.
    image: Arc<Image>,
}

impl RealContainer {
    pub(super) fn new(
        process: ContainerAsync<GenericImage>,
        pid: u32,
        token: String,
        image: Arc<Image>,
    ) -> Self {
        let id = process.id().to_owned();
        Self { process: Some(process), id, pid, token, image }
    }

    /// Docker's name for it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The number of its first process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Runs a program inside, as `docker exec` does, to its end, 20 seconds at most: `exec(["wget", "-qO-", url])`. The
    /// programs are busybox's, `sh` among them.
    ///
    /// Where [`Node::exec`](crate::Node::exec) runs a program of the machine in the container's network, this one sees nothing
    /// but the container.
    ///
    /// # Errors
    /// [`ExecError::Start`] where the daemon refuses, [`ExecError::TooLong`] when it did not end. That there is no such
    /// program is no error here, but exit status 126 or 127.
    ///
    /// # Cancel safety
    /// The program goes on, and ends with the container.
    pub async fn exec<I>(&self, command: I) -> Result<Output, ExecError>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        let program = command.first().cloned().unwrap_or_default();
        let failed = |source| ExecError::Start { program: program.clone(), source };
        let (client, id) = (self.image.client().clone(), self.id.clone());
        let ended = engine::run(timeout(LIMIT, run(client, id, command))).await;
        match ended.map_err(|error| failed(io::Error::other(error)))? {
            Ok(output) => output.map_err(|error| failed(io::Error::other(error))),
            Err(_) => Err(ExecError::TooLong { program }),
        }
    }
}

impl fmt::Debug for RealContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, pid, .. } = self;
        f.debug_struct("RealContainer").field("id", id).field("pid", pid).finish_non_exhaustive()
    }
}

impl Drop for RealContainer {
    fn drop(&mut self) {
        let (process, image) = (self.process.take(), Arc::clone(&self.image));
        engine::finish(async move {
            if let Some(process) = process
                && let Err(error) = process.rm().await
            {
                tracing::debug!(%error, "a container was not removed");
            }
            drop(image);
        });
    }
}

async fn run(client: Docker, id: String, command: Vec<String>) -> Result<Output, Error> {
    let wanted = CreateExecOptions {
        cmd: Some(command),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let running = client.create_exec(&id, wanted).await?.id;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    if let StartExecResults::Attached { mut output, .. } = client.start_exec(&running, None).await?
    {
        while let Some(said) = output.try_next().await? {
            match said {
                LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                said => stdout.extend_from_slice(&said.into_bytes()),
            }
        }
    }
    let code = loop {
        if let Some(code) = client.inspect_exec(&running).await?.exit_code {
            break code;
        }
        // Its output has ended before the daemon has heard of its end.
        sleep(Duration::from_millis(5)).await;
    };
    Ok(Output {
        status: ExitStatus::from_raw((code as i32) << 8),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}
