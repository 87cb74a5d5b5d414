//! Several requests, published all or not at all.

use portmap::{BoxError, Error, Lease, PortMapper, Publish};

use crate::output;

/// Finds a host port that two requests want, before anything is touched; one request's own a mapper finds.
pub(crate) fn check_together(requests: &[Publish]) -> Result<(), Error> {
    let Some(first) = requests.first() else { return Ok(()) };
    let mappings = requests.iter().flat_map(|request| request.mappings().iter().cloned());
    mappings.fold(Publish::new(first.endpoint()), Publish::with).check()
}

/// Publishes each request by a mapper, all or none.
pub(crate) async fn publish_all<M: PortMapper>(
    requests: impl IntoIterator<Item = (M, Publish)>,
) -> Result<Vec<Lease>, BoxError> {
    let mut leases = Vec::new();
    for (mapper, request) in requests {
        match mapper.publish(request).await {
            Ok(lease) => leases.push(lease),
            Err(error) => {
                if let Err(kept) = join(leases).release().await {
                    tracing::warn!(
                        error = output::chain(&kept),
                        "what was published is not released"
                    );
                }
                return Err(error.into());
            }
        }
    }
    Ok(leases)
}

/// Several leases as one.
pub(crate) fn join(leases: Vec<Lease>) -> Lease {
    leases.into_iter().fold(Lease::default(), Lease::join)
}
