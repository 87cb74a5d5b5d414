//! What is in force, container by container, from its beginning to its end: the same in every mode.

mod back_off;
mod begin;
mod follow;
mod served;

use std::future::pending;

use futures::future::join;
use portmap::{BoxError, Lease, rules::Network};

use self::follow::follow;
pub(crate) use self::{
    begin::{By, publish},
    served::by_both,
};
use crate::{
    all,
    args::Mode,
    ends::Ends,
    monitor::{Monitor, Tracking},
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

/// Tells what is in force and what NAT serves, follows containers, and releases all in the end. The networks are those that
/// the rules know.
pub(crate) async fn until_end(
    mode: Mode,
    mut published: Vec<Published>,
    networks: &[Network],
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let bindings = published.iter().flat_map(|published| published.lease.bindings());
    let bindings: Vec<_> = bindings.cloned().collect();
    let mut tracking = match mode {
        Mode::Proxy => None,
        Mode::Hybrid | Mode::Rules => Some(Tracking::begin(monitor, &bindings).await),
    };
    monitor.published(mode, bindings);

    let watch = async {
        if let Some(tracking) = &mut tracking {
            tracking.run().await;
        }
    };
    tokio::select! {
        () = ends.wait() => {}
        // Where there is nobody to follow, and nothing to watch, this has nothing to do.
        () = async {
            join(follow(&mut published, networks, monitor), watch).await;
            pending().await
        } => {}
    }
    if let Some(tracking) = tracking {
        tracking.finish().await;
    }
    let leases = published.into_iter().map(|published| published.lease).collect();
    release(all::join(leases), monitor, ends).await
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
