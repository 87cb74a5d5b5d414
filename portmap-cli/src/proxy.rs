//! A publish by the proxy, from its beginning to its end.

mod routing;

use portmap::{BoxError, Publish};

use crate::{
    args::{Args, Mode},
    demo::Demo,
    ends::Ends,
    monitor::Monitor,
    plan::Plan,
    published::{By, publish, until_end},
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
    let published = publish(args, plan, webapp, By::Proxy, monitor).await?;
    for container in plan.containers() {
        monitor.note(format_args!("{}, by the proxy", container.reach));
    }
    demo.into_iter().for_each(|demo| monitor.note(demo));
    until_end(Mode::Proxy, published, &[], monitor, ends).await
}
