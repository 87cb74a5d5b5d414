//! Limits are tower layers: how many connections, how many new ones a second, and what becomes of the others.
//!
//! ```console
//! $ cargo run --example limits
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{net::Ipv4Addr, time::Duration};

use portmap::{BoxError, PortMapper, PortSpec, ProxyMapper, Publish};
use portmap_testkit::{Page, Webapp};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tower::{
    buffer::BufferLayer,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let container = TcpListener::bind("127.0.0.1:0").await?;
    let spec = format!("127.0.0.1::{}", container.local_addr()?.port());
    tokio::spawn(Webapp::serve(container, "limits"));

    // From the outside in: each asks the next whether there is room.
    let mapper = ProxyMapper::new()
        // Whoever finds no room is reset and counts as refused. Without this layer clients wait in the kernel's
        // backlog until there is room, where they cost no descriptor.
        .layer(LoadShedLayer::new())
        // All bindings of the mapper together: the layer, and so its semaphore, is one.
        .layer(GlobalConcurrencyLimitLayer::new(1000))
        // Each binding for itself: a layer is asked for a service once for each.
        .layer(ConcurrencyLimitLayer::new(100))
        // Five new connections a second and binding. A rate limit cannot be cloned, so a task has it, and a
        // buffer leads there: one connection waits in the buffer, one with the task, and no further one has room.
        .layer(BufferLayer::new(1))
        .layer(RateLimitLayer::new(5, Duration::from_secs(1)));

    let request = Publish::new(Ipv4Addr::LOCALHOST)
        .with(spec.parse::<PortSpec>()?)
        .with(spec.parse::<PortSpec>()?);
    let lease = mapper.publish(request).await?;

    // Twenty clients in less than half a second for the first binding, one for the second.
    let ports = lease.bindings().iter().map(|binding| binding.host_ports().first().number());
    let mut clients = JoinSet::new();
    for (port, count) in ports.zip([20, 1]) {
        for _ in 0..count {
            clients.spawn(Page::get((Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(5)));
            sleep(Duration::from_millis(20)).await;
        }
    }
    let answers = clients.join_all().await;
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    println!("{answered} of {} clients were answered", answers.len());

    for stats in mapper.stats() {
        let (opened, refused, bytes) = (stats.opened, stats.refused, stats.to_client.bytes);
        println!("{}: {opened} opened, {refused} of them refused, {bytes} B", stats.binding);
    }
    lease.release().await?;
    Ok(())
}
