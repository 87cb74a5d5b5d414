//! A publish by the proxy, from its beginning to its end.

use portmap::{
    BoxError, PortMapper, ProxyMapper, Publish,
    proxy::SourceAddress,
    rules::{Network, TransparentRouting},
};

use crate::{
    args::Args,
    connections,
    demo::Demo,
    ends::Ends,
    output::{Table, say},
    plan::{Plan, check_together, publish_all},
};

pub(crate) async fn run(args: &Args, plan: &Plan, ends: &mut Ends) -> Result<(), BoxError> {
    let demo = match plan.for_webapp() {
        [] => None,
        specs => Some(Demo::start(specs, args.is_headed()).await?),
    };
    let served = serve(args, plan, demo.as_ref(), ends).await;
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
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let mapper = ProxyMapper::new().drain_limit(args.drain_limit()).source_address(args.source());
    let mapper = mapper.layer(connections::report()).session_layer(connections::report());
    let requests = plan.with_webapp(demo.map(|demo| demo.request(plan.for_webapp())));
    check_together(&requests)?;
    let routing = match args.source() {
        SourceAddress::Transparent => Some(set_up_routing(args, plan, demo).await?),
        _ => None,
    };
    let published = publish_and_wait(&mapper, requests, plan, demo, ends).await;
    match routing {
        Some(routing) => published.and(routing.remove().await.map_err(Into::into)),
        None => published,
    }
}

/// Brings this tool the answers of containers to clients whose addresses it speaks from.
async fn set_up_routing(
    args: &Args,
    plan: &Plan,
    demo: Option<&Demo>,
) -> Result<TransparentRouting, BoxError> {
    plan.check_places(args.networks())?;
    let bridges = args.networks().iter().map(Network::bridge);
    let own = demo.map(Demo::network).transpose()?.flatten();
    let bridges = bridges.chain(own.as_ref().map(Network::bridge));
    Ok(TransparentRouting::set_up(bridges).await?)
}

async fn publish_and_wait(
    mapper: &impl PortMapper,
    requests: Vec<Publish>,
    plan: &Plan,
    demo: Option<&Demo>,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let lease = publish_all(mapper, requests).await?;
    for request in plan.named() {
        say(format_args!("container at {}, by the proxy", request.endpoint()));
    }
    demo.into_iter().for_each(say);
    say(Table::of_bindings(lease.bindings()));
    say("Ctrl-C ends it.");

    ends.wait().await;
    tokio::select! {
        released = lease.release() => Ok(released?),
        // Asked twice: whoever is still connected is reset.
        () = ends.wait() => Ok(()),
    }
}
