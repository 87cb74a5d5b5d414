//! What is in force, container by container.

use portmap::{
    BoxError, BoxPortMapper, HybridMapper, Lease, PortMapper, ProxyMapper, Publish, RulesMapper,
};

use crate::{
    all::publish_all,
    args::Args,
    limits,
    monitor::Monitor,
    plan::{Container, Plan},
    target::{Reach, Target, Way},
};

/// A request that is in force, and what it takes to lead it elsewhere.
pub(crate) struct Published {
    pub(super) lease: Lease,
    pub(super) target: Option<Target>,
    pub(super) reach: Option<Reach>,
    pub(super) way: Option<Way>,
}

/// Publishes each container's request by the mapper that knows the way to it: where there are rules, beside these.
pub(crate) async fn publish(
    args: &Args,
    plan: &Plan,
    webapp: Option<Publish>,
    rules: Option<&RulesMapper>,
    monitor: &Monitor,
) -> Result<Vec<Published>, BoxError> {
    let ways: Vec<_> = plan.containers().iter().map(way).collect();
    let to_containers = plan.containers().iter().zip(&ways).map(|(container, way)| {
        // NAT leads to an address: a container that is dialled from inside has none.
        let rules = rules.filter(|_| container.reach.inside.is_none());
        let proxy = mapper(args, monitor, way.clone());
        (beside(rules, proxy), container.request.clone())
    });
    let to_webapp = webapp.map(|request| (beside(rules, mapper(args, monitor, None)), request));
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

fn beside(rules: Option<&RulesMapper>, proxy: BoxPortMapper) -> BoxPortMapper {
    match rules {
        Some(rules) => HybridMapper::new(proxy, rules.clone()).into_boxed(),
        None => proxy,
    }
}

/// A proxy that dials this way; without one, from this namespace, where it knows what leads back to itself.
fn mapper(args: &Args, monitor: &Monitor, way: Option<Way>) -> BoxPortMapper {
    let mapper = ProxyMapper::new().drain_limit(args.drain_limit()).source_address(args.source());
    let mapper = mapper.layer(monitor.clone()).session_layer(monitor.clone());
    match way {
        Some(way) => mapper.session_dial(way.sessions()).dial(way).into_boxed(),
        None => mapper.into_boxed(),
    }
}
