//! What can be found wrong with what is wanted before anything is touched: for a publish, a dry run and an explanation alike.

use portmap::{
    Binding, BoxError, HostPort, ProxyMapper, Publish,
    proxy::{SourceAddress, not_to_itself},
};

use crate::{
    all::check_together,
    args::{Args, Mode},
    assume,
    demo::Contained,
    plan::Plan,
};

/// Finds what no publish by this mode would do.
pub(crate) fn check(args: &Args, plan: &Plan, mode: Mode) -> Result<(), BoxError> {
    match mode {
        Mode::Proxy => by_proxy(args, plan),
        Mode::Rules => {
            plan.check_addresses()?;
            by_rules(args, plan, mode)
        }
        Mode::Hybrid => {
            plan.check_places(&plan.networks(args.networks()))?;
            check_together(&plan.with_webapp(webapp(plan)?))?;
            // The proxy has these to itself.
            let inside = plan.containers().iter().filter(|one| one.reach.inside.is_some());
            let mapper = ProxyMapper::new();
            inside.map(|one| &one.request).try_for_each(|request| mapper.check(request))?;
            by_rules(args, plan, mode)
        }
    }
}

fn by_rules(args: &Args, plan: &Plan, mode: Mode) -> Result<(), BoxError> {
    let (networks, requests) = (plan.networks(args.networks()), plan.by_nat());
    requests.iter().try_for_each(Publish::check)?;
    plan.check_places(&networks)?;
    let closed = |why| format!("{why}, where NAT has no way in; --mode proxy has");
    plan.check_ways_in(&networks).map_err(closed)?;
    assume::rules(&networks, &requests, &args.rules.policy(mode))?;
    Ok(())
}

fn by_proxy(args: &Args, plan: &Plan) -> Result<(), BoxError> {
    let requests = plan.with_webapp(webapp(plan)?);
    let mapper = ProxyMapper::new().source_address(args.source());
    requests.iter().try_for_each(|request| mapper.check(request))?;
    check_together(&requests)?;
    let here = plan.containers().iter().filter(|one| one.reach.inside.is_none());
    // Together: one may lead to another.
    not_to_itself(&here.flat_map(|one| exact(&one.request)).collect::<Vec<_>>())?;
    if args.source() == SourceAddress::Transparent {
        if let Some(inside) = plan.containers().iter().find(|one| one.reach.inside.is_some()) {
            let needs = "--source transparent needs a container's address on this host";
            return Err(format!("{needs}: {} has none", inside.reach).into());
        }
        plan.check_places(&plan.networks(args.networks()))?;
    }
    Ok(())
}

/// What is for the webapp, at the address that it would have where nothing is in the way: that is for nobody to judge.
fn webapp(plan: &Plan) -> Result<Option<Publish>, BoxError> {
    match plan.for_webapp() {
        [] => Ok(None),
        specs => Ok(Some(Contained::assumed(specs)?.1)),
    }
}

/// The bindings of a request as far as they are known: a host port that is chosen leads back to nothing that is there.
fn exact(request: &Publish) -> Vec<Binding> {
    let (endpoint, mappings) = (request.endpoint(), request.mappings().iter());
    let bindings = mappings.flat_map(|mapping| {
        let exact = match mapping.host_port() {
            HostPort::Exact(ports) => Some(ports.first()),
            HostPort::AnyOf(_) | HostPort::Ephemeral => None,
        };
        let (protocol, ports) = (mapping.protocol(), mapping.container_ports());
        exact.into_iter().flat_map(move |first| {
            mapping
                .host()
                .filter_map(move |host| Binding::new(protocol, host, first, endpoint, ports))
        })
    });
    bindings.collect()
}
