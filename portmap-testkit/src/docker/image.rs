//! The image of all containers.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::TryStreamExt;
use tar::{Builder, EntryType, Header};

use super::engine;
use super::owner::{LABEL, Owner};
use super::sweep::remove_image;
use crate::busybox::Busybox;
use crate::error::{LabError, Step};

/// Linked statically by `build.rs`.
const WEBAPP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/webapp"));

/// What busybox is called by in a container.
const APPLETS: [&str; 10] =
    ["cat", "ip", "nc", "netstat", "printf", "sh", "sleep", "telnet", "timeout", "wget"];

const NAME: &str = "portmap-testkit";

/// An image with busybox and the webapp. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Image {
    client: Docker,
    tag: String,
    /// How many containers were made of it.
    count: AtomicU32,
}

impl Image {
    /// Makes it of an archive: from scratch, and without a builder, which would keep a cache of it.
    pub(super) async fn make(client: Docker) -> Result<Self, LabError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let owner = Owner::current()?;
        let tag = format!("{owner}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let files = archive().step(|| "pack an image".to_owned())?;
        let made = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(NAME)
            .tag(&tag)
            .changes(vec![format!("LABEL {LABEL}={owner}")])
            .build();
        // Before it is there: what fails half-way goes with it.
        let image = Self { client, tag, count: AtomicU32::new(0) };
        let made =
            image.client.create_image(Some(made), Some(bollard::body_full(files.into())), None);
        made.try_collect::<Vec<_>>().await.step(|| "make an image".to_owned())?;
        Ok(image)
    }

    pub(super) fn client(&self) -> &Docker {
        &self.client
    }

    pub(super) fn name(&self) -> &'static str {
        NAME
    }

    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// What the next container is called in the daemon, and no other one.
    pub(super) fn next_name(&self) -> String {
        format!("{NAME}-{}-{}", self.tag, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let (client, id) = (self.client.clone(), format!("{NAME}:{}", self.tag));
        engine::finish(async move { remove_image(&client, &id).await });
    }
}

fn archive() -> io::Result<Vec<u8>> {
    let busybox = Busybox::find().map_err(io::Error::other)?;
    let busybox = std::fs::read(busybox.path())?;
    let mut archive = Builder::new(Vec::new());
    let header = |kind, size, mode| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        header
    };
    let folder = |name| (header(EntryType::Directory, 0, 0o755), name);
    for (mut header, name) in [folder("bin/"), folder("tmp/")] {
        archive.append_data(&mut header, name, io::empty())?;
    }
    for (name, program) in [("bin/busybox", busybox.as_slice()), ("bin/webapp", WEBAPP)] {
        let mut header = header(EntryType::Regular, program.len() as u64, 0o755);
        archive.append_data(&mut header, name, program)?;
    }
    for applet in APPLETS {
        let mut header = header(EntryType::Symlink, 0, 0o777);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    archive.into_inner()
}
