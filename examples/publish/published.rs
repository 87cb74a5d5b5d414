//! What is in force, container by container, from its beginning to its end: the same in every mode.

mod begin;
mod follow;

use std::future::pending;

use portmap::{BoxError, Lease, rules::Network};

pub(crate) use self::begin::{By, publish};
use self::follow::follow;
use crate::{
    all::join,
    args::Mode,
    ends::Ends,
    monitor::Monitor,
    output::chain,
    target::{Reach, Target, Way},
};

/// A request that is in force, and what it takes to lead it elsewhere.
pub(crate) struct Published {
    lease: Lease,
    target: Option<Target>,
    reach: Option<Reach>,
    /// How the proxy dials it. NAT needs no more than its address.
    way: Option<Way>,
}

/// Tells what is in force, follows containers, and releases all in the end. The networks are those that the rules know.
pub(crate) async fn until_end(
    mode: Mode,
    mut published: Vec<Published>,
    networks: &[Network],
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let bindings = published.iter().flat_map(|published| published.lease.bindings());
    monitor.published(mode, bindings.cloned().collect());

    tokio::select! {
        () = ends.wait() => {}
        // Where there is nobody to follow this has nothing to do.
        () = async { follow(&mut published, networks, monitor).await; pending().await } => {}
    }
    let leases = published.into_iter().map(|published| published.lease).collect();
    release(join(leases), monitor, ends).await
}

async fn release(lease: Lease, monitor: &Monitor, ends: &mut Ends) -> Result<(), BoxError> {
    tokio::select! {
        // Not the error itself: it holds the lease, and a mapper of rules does not end before that has gone.
        released = lease.release() => released.map_err(|error| chain(&error))?,
        // Asked twice: whoever is still connected is reset.
        () = ends.wait() => {}
    }
    monitor.released();
    Ok(())
}
