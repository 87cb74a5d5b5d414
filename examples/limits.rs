//! Limits are tower layers: how many connections, how many new ones a second, and what becomes of the others.
//!
//! ```console
//! $ cargo run --example limits
//! $ for n in $(seq 20); do curl -so /dev/null localhost:8080 || echo reset & done; wait    # from another shell
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use portmap::{Endpoint, PortMapper, PortSpec, ProxyMapper, Publish};
use portmap_testkit::Webapp;
use tokio::{net::TcpListener, time::interval};
use tower::{
    buffer::BufferLayer,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let container = TcpListener::bind("127.0.0.1:8081").await?;
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

    let mut leases = Vec::new();
    for spec in ["127.0.0.1:8080:8081", "127.0.0.1:8090:8081"] {
        let request =
            Publish::new("127.0.0.1".parse::<Endpoint>()?).with(spec.parse::<PortSpec>()?);
        leases.push(mapper.publish(request).await?);
    }
    let (mut ticks, mut told) = (interval(Duration::from_secs(1)), String::new());
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = ticks.tick() => {}
        }
        let stats = mapper.stats().into_iter().map(|stats| {
            let (opened, active) = (stats.opened, stats.active);
            let (refused, bytes) = (stats.refused, stats.to_client.bytes);
            format!(
                "{}: {opened} opened, {active} active, {refused} refused, {bytes} B\n",
                stats.binding
            )
        });
        let stats = stats.collect();
        if told != stats {
            println!("{stats}");
            told = stats;
        }
    }
    for lease in leases {
        lease.release().await?;
    }
    Ok(())
}
