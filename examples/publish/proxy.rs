//! A publish by the proxy, from its beginning to its end.

mod follow;
mod published;
mod routing;

use std::future::pending;

use portmap::{BoxError, Lease, Publish};

pub(crate) use self::published::publish;
use self::{follow::follow, published::Published};
use crate::{
    all::{check_together, join},
    args::{Args, Mode},
    demo::Demo,
    ends::Ends,
    monitor::Monitor,
    output::chain,
    plan::Plan,
};

pub(crate) async fn run(
    args: &Args,
    plan: &Plan,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let demo = match plan.for_webapp() {
        [] => None,
        specs => Some(Demo::start(specs, args.is_headed()).await?),
    };
    let served = serve(args, plan, demo.as_ref(), monitor, ends).await;
    let removed = match demo {
        Some(demo) => demo.remove().await,
        None => Ok(()),
    };
    served.and(removed)
}

async fn serve(
    args: &Args,
    plan: &Plan,
    demo: Option<&Demo>,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let webapp = demo.map(|demo| demo.request(plan.for_webapp()));
    check_together(&plan.with_webapp(webapp.clone()))?;
    let routing = routing::set_up(args, plan, demo).await?;
    let done = publish_and_wait(args, plan, demo, webapp, monitor, ends).await;
    match routing {
        Some(routing) => done.and(routing.remove().await.map_err(Into::into)),
        None => done,
    }
}

async fn publish_and_wait(
    args: &Args,
    plan: &Plan,
    demo: Option<&Demo>,
    webapp: Option<Publish>,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let published = publish(args, plan, webapp, None, monitor).await?;
    for container in plan.containers() {
        monitor.note(format_args!("{}, by the proxy", container.reach));
    }
    demo.into_iter().for_each(|demo| monitor.note(demo));
    until_end(Mode::Proxy, published, monitor, ends).await
}

/// Tells what is in force, follows containers, and releases all in the end.
pub(crate) async fn until_end(
    mode: Mode,
    mut published: Vec<Published>,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let bindings = published.iter().flat_map(|published| published.lease.bindings());
    monitor.published(mode, bindings.cloned().collect());

    tokio::select! {
        () = ends.wait() => {}
        // Where there is nobody to follow this has nothing to do.
        () = async { follow(&mut published, monitor).await; pending().await } => {}
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
