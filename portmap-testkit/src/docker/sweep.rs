//! What killed processes have left.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};

use super::owner::{LABEL, Owner};
use crate::error::{LabError, Step};

/// Removes containers and images whose owners have ended, and nobody else's.
pub(super) async fn sweep(client: &Docker) -> Result<(), LabError> {
    let us = Owner::current()?;
    let is_stale = |labels: Option<&HashMap<String, String>>| {
        let owner = labels.and_then(|labels| labels.get(LABEL)?.parse::<Owner>().ok());
        owner.is_some_and(|owner| owner.has_ended(&us))
    };
    let labelled = HashMap::from([("label", vec![LABEL])]);

    let wanted = ListContainersOptionsBuilder::new().all(true).filters(&labelled).build();
    let containers = client.list_containers(Some(wanted)).await;
    for container in containers.step(|| "list containers".to_owned())? {
        if let Some(id) = container.id.filter(|_| is_stale(container.labels.as_ref())) {
            remove_container(client, &id).await;
        }
    }
    let wanted = ListImagesOptionsBuilder::new().filters(&labelled).build();
    for image in client.list_images(Some(wanted)).await.step(|| "list images".to_owned())? {
        if is_stale(Some(&image.labels)) {
            remove_image(client, &image.id).await;
        }
    }
    Ok(())
}

/// Removes a container; what goes wrong is left to the next sweep.
pub(super) async fn remove_container(client: &Docker, id: &str) {
    let forced = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    if let Err(error) = client.remove_container(id, Some(forced)).await {
        // Another process may be sweeping too.
        tracing::debug!(%error, id, "a container was not removed");
    }
}

/// Removes an image; what goes wrong is left to the next sweep.
pub(super) async fn remove_image(client: &Docker, id: &str) {
    let forced = RemoveImageOptionsBuilder::new().force(true).build();
    if let Err(error) = client.remove_image(id, Some(forced), None).await {
        tracing::debug!(%error, id, "an image was not removed");
    }
}
