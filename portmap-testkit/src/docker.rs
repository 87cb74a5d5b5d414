//! Real containers, by the machine's Docker.

mod engine;
mod image;
mod namespace;
mod owner;
mod real;
mod sweep;

use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use bollard::errors::Error;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::bridge::Bridge;
use crate::container::Container;
use crate::error::{LabError, Step};
use crate::node::Node;
use image::Image;
use owner::{LABEL, Owner};
pub use real::RealContainer;
use sweep::remove_container;

/// The machine's Docker, with an image of the test kit in it: containers of its own in a [`Lab`](crate::Lab).
///
/// A container has `--network none` and is plugged into a [`Bridge`] of the lab: Docker's own networks and rules have no
/// part in it. It is a [`Container`] like any other, and [`Container::real`] is what only a real one can do. In it are
/// busybox and a webapp, and nothing else: the image is made from scratch, with the busybox of the machine
/// ([`Busybox`](crate::Busybox), which must be linked statically) and a program that comes with this crate. Nothing is fetched.
///
/// **Dropping the last handle removes the image**, and dropping a container removes it, also in a panic; both wait for the
/// daemon, some 0.2 s. What a killed process leaves is found by its label, `portmap-testkit`, and swept by the next
/// [`open`](Self::open). Handles are cheap to clone, and those of one process share the image.
///
/// It needs the right to enter the containers' namespaces: root, and a daemon on this machine
/// ([`Need::Docker`](crate::Need::Docker), [`Need::Root`](crate::Need::Root)).
#[derive(Clone, Debug)]
pub struct Docker {
    image: Arc<Image>,
}

/// What runs in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Webapp(u16),
    Busybox,
}

impl Docker {
    /// Sweeps what killed processes have left, and makes the image, unless this process has it.
    ///
    /// # Errors
    /// Where no daemon answers (at `DOCKER_HOST`, or its usual socket), or there is no busybox.
    ///
    /// # Cancel safety
    /// What was begun is done to its end, and removed.
    pub async fn open() -> Result<Self, LabError> {
        static SHARED: LazyLock<Mutex<Weak<Image>>> = LazyLock::new(Mutex::default);
        let mut shared = SHARED.lock().await;
        if let Some(image) = shared.upgrade() {
            return Ok(Self { image });
        }
        let image = engine::run(async {
            let client = docker_client_instance().await.step(|| "find Docker".to_owned())?;
            // Older daemons don't know the version that the client would speak.
            let client = client.negotiate_version().await.step(|| "ask Docker".to_owned())?;
            sweep::sweep(&client).await?;
            Image::make(client).await
        });
        let image = Arc::new(image.await??);
        *shared = Arc::downgrade(&image);
        Ok(Self { image })
    }

    /// Starts a container on a bridge that serves a [`Page`](crate::Page) on a port, over TCP and UDP, under its name.
    /// When it returns, the webapp answers.
    ///
    /// # Errors
    /// What the daemon or the kernel refuses: a name that can be no host's, say.
    ///
    /// # Cancel safety
    /// What was begun is removed.
    pub async fn webapp(
        &self,
        bridge: &Bridge,
        name: &str,
        port: u16,
    ) -> Result<Container, LabError> {
        let container = self.start(bridge, name, Role::Webapp(port)).await?;
        // It may not have come to listen yet: 2 s at most.
        for _ in 0..100 {
            if container.get(([127, 0, 0, 1], port).into()).await.is_ok() {
                return Ok(container);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(LabError::new(format!("the webapp of container {name} does not answer")))
    }

    /// Starts a container on a bridge that sleeps: for [`exec`](RealContainer::exec) in it.
    ///
    /// # Errors
    /// As [`webapp`](Self::webapp).
    ///
    /// # Cancel safety
    /// What was begun is removed.
    pub async fn busybox(&self, bridge: &Bridge, name: &str) -> Result<Container, LabError> {
        self.start(bridge, name, Role::Busybox).await
    }

    async fn start(&self, bridge: &Bridge, name: &str, role: Role) -> Result<Container, LabError> {
        let (hostname, image) = (name.to_owned(), Arc::clone(&self.image));
        let real = engine::run(async move { start(image, hostname, role).await }).await??;
        let namespace = namespace::of(real.pid(), real.token()).await?;
        let node = Node::join(name, namespace).await?;
        if bridge.gateway6().is_some() {
            // Docker has switched it off, as its network `none` has no IPv6.
            for scope in ["all", "default"] {
                node.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "0").await?;
            }
        }
        let mut container = bridge.plug(node).await?;
        container.real = Some(Box::new(real));
        Ok(container)
    }
}

async fn start(image: Arc<Image>, name: String, role: Role) -> Result<RealContainer, LabError> {
    let step = || format!("start container {name}");
    let (program, args) = match role {
        Role::Webapp(port) => ("/bin/webapp", vec![port.to_string()]),
        Role::Busybox => ("/bin/sleep", vec!["1000000".to_owned()]),
    };
    let owner = Owner::current()?;
    let token = image.next_name();
    let started = GenericImage::new(image.name(), image.tag())
        .with_entrypoint(program)
        .with_cmd(args)
        .with_network("none")
        .with_container_name(&token)
        .with_hostname(&name)
        .with_label(LABEL, owner.to_string())
        .with_env_var(namespace::TOKEN, &token)
        .start();
    let process = match started.await {
        Ok(process) => process,
        Err(error) => {
            // It may have been made, and only not started: nobody else would remove it.
            remove_container(image.client(), &token).await;
            return Err(error).step(step);
        }
    };
    let state = image.client().inspect_container(process.id(), None).await.step(step)?.state;
    let pid = state.and_then(|state| u32::try_from(state.pid?).ok()).filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| LabError::new(format!("container {name} has ended at once")))?;
    Ok(RealContainer::new(process, pid, token, image))
}

impl<T> Step<T> for Result<T, Error> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|error| LabError::caused(step(), error))
    }
}

impl<T> Step<T> for Result<T, testcontainers::TestcontainersError> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|error| LabError::caused(step(), error))
    }
}

impl<T> Step<T> for Result<T, testcontainers::core::client::ClientError> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|error| LabError::caused(step(), error))
    }
}
