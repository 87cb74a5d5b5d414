//! Publishing each container by the mapper that knows the way to it.

use std::time::Duration;

use portmap::{
    BoxError, BoxPortMapper, HybridMapper, PortMapper, ProxyMapper, Publish, RulesMapper,
};

use super::Published;
use crate::{
    all::publish_all,
    args::Args,
    limits,
    monitor::Monitor,
    plan::{Container, Plan},
    target::{Target, Way},
};

/// The proxy's default, for its dials from inside a namespace too.
const REFUSED_RETRY: Duration = Duration::from_millis(100);

/// What serves it.
#[derive(Clone, Copy)]
pub(crate) enum By<'a> {
    Proxy,
    Rules(&'a RulesMapper),
    /// The proxy beside rules.
    Both(&'a RulesMapper),
}

/// Publishes each container's request, and the webapp's last: all or none.
pub(crate) async fn publish(
    args: &Args,
    plan: &Plan,
    webapp: Option<Publish>,
    by: By<'_>,
    monitor: &Monitor,
) -> Result<Vec<Published>, BoxError> {
    let ways: Vec<_> = plan.containers().iter().map(|container| way(container, by)).collect();
    let to_containers = plan.containers().iter().zip(&ways).map(|(container, way)| {
        let by = match by {
            // NAT leads to an address: a container that is dialled from inside has none.
            By::Both(_) if container.reach.inside.is_some() => By::Proxy,
            by => by,
        };
        (mapper(args, monitor, by, way.clone()), container.request.clone())
    });
    let to_webapp = webapp.map(|request| (mapper(args, monitor, by, None), request));
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

/// The way to a container that a proxy dials from elsewhere, or that may be elsewhere one day.
fn way(container: &Container, by: By<'_>) -> Option<Way> {
    let Container { target, reach, .. } = container;
    let moves = matches!(target, Target::Docker(_)) && !reach.is_here();
    let dials = !matches!(by, By::Rules(_));
    (dials && (moves || reach.inside.is_some())).then(|| Way::new(reach.inside.clone()))
}

fn mapper(args: &Args, monitor: &Monitor, by: By<'_>, way: Option<Way>) -> BoxPortMapper {
    match by {
        By::Proxy => proxy(args, monitor, way),
        By::Rules(rules) => rules.clone().into_boxed(),
        By::Both(rules) => HybridMapper::new(proxy(args, monitor, way), rules.clone()).into_boxed(),
    }
}

/// A proxy that dials this way; without one, from this namespace, where it knows what leads back to itself.
fn proxy(args: &Args, monitor: &Monitor, way: Option<Way>) -> BoxPortMapper {
    let mapper = ProxyMapper::new().drain_limit(args.drain_limit()).source_address(args.source());
    let mapper = mapper.refused_retry(REFUSED_RETRY);
    let mapper = mapper.layer(monitor.clone()).session_layer(monitor.clone());
    match way {
        Some(way) => mapper.session_dial(way.sessions()).dial(way).into_boxed(),
        None => mapper.into_boxed(),
    }
}
