//! A publish by the proxy, from its beginning to its end.

use portmap::{BoxError, ProxyMapper};

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
        specs => Some(Demo::start(specs).await?),
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
    let mapper = ProxyMapper::new().drain_limit(args.drain_limit());
    let mapper = mapper.layer(connections::report()).session_layer(connections::report());
    let requests = plan.with_webapp(demo.map(|demo| demo.request(plan.for_webapp())));
    check_together(&requests)?;
    let lease = publish_all(&mapper, requests).await?;
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
