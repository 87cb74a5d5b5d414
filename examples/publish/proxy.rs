//! A publish by the proxy, from its beginning to its end.

mod follow;

use std::future::pending;

use portmap::{BoxError, BoxPortMapper, Lease, PortMapper, ProxyMapper, Publish};

use self::follow::follow;
use crate::{
    all::{check_together, join, publish_all},
    args::{Args, Mode},
    demo::Demo,
    ends::Ends,
    limits,
    monitor::Monitor,
    plan::{Container, Plan},
    target::{Reach, Target, Way},
};

pub(crate) async fn run(
    args: &Args,
    plan: &Plan,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let demo = match plan.for_webapp() {
        [] => None,
        specs => Some(Demo::start(specs).await?),
    };
    let served = serve(args, plan, demo.as_ref(), monitor, ends).await;
    let removed = match demo {
        Some(demo) => demo.remove().await,
        None => Ok(()),
    };
    served.and(removed)
}

/// A request that is in force, and what it takes to lead it elsewhere.
struct Published {
    lease: Lease,
    target: Option<Target>,
    reach: Option<Reach>,
    way: Option<Way>,
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
    let mut published = publish(args, plan, webapp, monitor).await?;
    for container in plan.containers() {
        monitor.note(format_args!("{}, by the proxy", container.reach));
    }
    demo.into_iter().for_each(|demo| monitor.note(demo));
    let bindings = published.iter().flat_map(|published| published.lease.bindings());
    monitor.published(Mode::Proxy, bindings.cloned().collect());

    tokio::select! {
        () = ends.wait() => {}
        // Where there is nobody to follow this has nothing to do.
        () = async { follow(&mut published, monitor).await; pending().await } => {}
    }
    let leases = published.into_iter().map(|published| published.lease).collect();
    release(join(leases), monitor, ends).await
}

/// Publishes each container's request by the mapper that knows the way to it.
async fn publish(
    args: &Args,
    plan: &Plan,
    webapp: Option<Publish>,
    monitor: &Monitor,
) -> Result<Vec<Published>, BoxError> {
    let ways: Vec<_> = plan.containers().iter().map(way).collect();
    let to_containers =
        plan.containers().iter().zip(&ways).map(|(container, way)| {
            (mapper(args, monitor, way.clone()), container.request.clone())
        });
    let to_webapp = webapp.map(|request| (mapper(args, monitor, None), request));
    let leases = publish_all(to_containers.chain(to_webapp)).await.map_err(limits::explain)?;
    let containers = plan.containers().iter().zip(ways).map(|(container, way)| {
        (Some(container.target.clone()), Some(container.reach.clone()), way)
    });
    let containers = containers.chain([(None, None, None)]);
    Ok(leases
        .into_iter()
        .zip(containers)
        .map(|(lease, (target, reach, way))| Published { lease, target, reach, way })
        .collect())
}

/// The way to a container that is dialled from elsewhere, or that may be elsewhere one day.
fn way(container: &Container) -> Option<Way> {
    let Container { target, reach, .. } = container;
    let moves = matches!(target, Target::Docker(_)) && !reach.is_here();
    (moves || reach.inside.is_some()).then(|| Way::new(reach.inside.clone()))
}

/// A proxy that dials this way; without one, from this namespace, where it knows what leads back to itself.
fn mapper(args: &Args, monitor: &Monitor, way: Option<Way>) -> BoxPortMapper {
    let mapper = ProxyMapper::new().drain_limit(args.drain_limit());
    let mapper = mapper.layer(monitor.clone()).session_layer(monitor.clone());
    match way {
        Some(way) => mapper.session_dial(way.sessions()).dial(way).into_boxed(),
        None => mapper.into_boxed(),
    }
}

async fn release(lease: Lease, monitor: &Monitor, ends: &mut Ends) -> Result<(), BoxError> {
    tokio::select! {
        released = lease.release() => released?,
        // Asked twice: whoever is still connected is reset.
        () = ends.wait() => {}
    }
    monitor.released();
    Ok(())
}
