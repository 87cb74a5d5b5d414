//! The spans that tell of publishing, connections and sessions. `docs/observability.md` lists their fields.
//!
//! A span that nobody wants costs a look at a number. So none has a parent: a connection is no part of whatever
//! the embedder did when it published.

use std::{
    fmt::{Display, Write},
    net::SocketAddr,
};

use portmap_core::{Binding, HostPort, Mapping, Publish};
use tracing::{Span, debug_span, field::Empty};

pub(crate) fn connection(client: SocketAddr, local: impl FnOnce() -> Option<SocketAddr>) -> Span {
    debug_span!(
        target: "portmap_proxy",
        parent: None,
        "connection",
        client = %client,
        local = local().map(display),
        endpoint = Empty,
        observed = Empty,
        to_endpoint = Empty,
        to_client = Empty,
        ending = Empty,
    )
}

pub(crate) fn session(client: SocketAddr, local: SocketAddr) -> Span {
    debug_span!(
        target: "portmap_proxy",
        parent: None,
        "session",
        client = %client,
        local = %local,
        endpoint = Empty,
        observed = Empty,
        to_endpoint = Empty,
        to_client = Empty,
        ending = Empty,
    )
}

pub(crate) fn publish(request: &Publish) -> Span {
    debug_span!(
        target: "portmap_proxy",
        "publish",
        endpoint = %request.endpoint(),
        mappings = list(request.mappings().iter().flat_map(asked)),
        bindings = Empty,
    )
}

/// What a publish has come to.
pub(crate) fn published(bindings: &[Binding]) {
    let span = Span::current();
    if !span.is_disabled() {
        span.record("bindings", list(bindings));
    }
}

/// `tcp *:8080 -> 80`
fn asked(mapping: &Mapping) -> impl Iterator<Item = String> {
    let ports = match mapping.host_port() {
        HostPort::Ephemeral => "ephemeral".to_owned(),
        HostPort::Exact(ports) => ports.to_string(),
        HostPort::AnyOf(ports) => format!("any of {ports}"),
    };
    let (protocol, container) = (mapping.protocol(), mapping.container_ports());
    mapping.host().map(move |host| format!("{protocol} {host}:{ports} -> {container}"))
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let mut list = String::new();
    for (place, item) in items.into_iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        // Writing to a `String` does not fail.
        let _ = write!(list, "{comma}{item}");
    }
    list
}
