//! A publish by the proxy, from its beginning to its end.

use portmap::{BoxError, BoxPortMapper, Lease, PortMapper, ProxyMapper, Publish};

use crate::{
    all::{check_together, join, publish_all},
    args::{Args, Mode},
    demo::Demo,
    ends::Ends,
    monitor::Monitor,
    plan::Plan,
    target::Reach,
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

async fn serve(
    args: &Args,
    plan: &Plan,
    demo: Option<&Demo>,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let webapp = demo.map(|demo| demo.request(plan.for_webapp()));
    check_together(&plan.with_webapp(webapp.clone()))?;
    let leases = publish_all(jobs(args, plan, webapp, monitor)).await?;
    for container in plan.containers() {
        monitor.note(format_args!("{}, by the proxy", container.reach));
    }
    demo.into_iter().for_each(|demo| monitor.note(demo));
    let lease = join(leases);
    monitor.published(Mode::Proxy, lease.bindings());

    ends.wait().await;
    release(lease, monitor, ends).await
}

/// Each container's request, and the mapper that knows the way to it.
fn jobs(
    args: &Args,
    plan: &Plan,
    webapp: Option<Publish>,
    monitor: &Monitor,
) -> Vec<(BoxPortMapper, Publish)> {
    let here = mapper(args, monitor, None);
    let containers = plan.containers().iter().map(|container| {
        let mapper = match &container.reach {
            Reach { inside: None, .. } => here.clone(),
            inside => mapper(args, monitor, Some(inside)),
        };
        (mapper, container.request.clone())
    });
    containers.chain(webapp.map(|request| (here.clone(), request))).collect()
}

/// A proxy that dials from this namespace, or from a container's.
fn mapper(args: &Args, monitor: &Monitor, reach: Option<&Reach>) -> BoxPortMapper {
    let mapper = ProxyMapper::new().drain_limit(args.drain_limit());
    let mapper = mapper.layer(monitor.clone()).session_layer(monitor.clone());
    match reach.and_then(|reach| reach.inside.clone()) {
        Some(inside) => mapper.session_dial(inside.sessions()).dial(inside).into_boxed(),
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
