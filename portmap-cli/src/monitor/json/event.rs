//! What an object says.

use std::net::SocketAddr;

use portmap::Binding;
use serde::Serialize;

use crate::args::Mode;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event {
    /// Something that was made or found.
    Note { text: String },
    /// What is in force now.
    Published { mode: Mode, bindings: Vec<Published> },
    /// Where some of it leads now.
    Retargeted { bindings: Vec<Published> },
    /// A client has come; its container is not reached yet.
    Opened(Client),
    /// It was served, and is over.
    Closed {
        #[serde(flatten)]
        client: Client,
        /// The client's address as the container saw it.
        seen_as: SocketAddr,
        seconds: f64,
        /// Nothing where nobody counted.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes_in: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes_out: Option<u64>,
        /// UDP alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        datagrams_in: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        datagrams_out: Option<u64>,
        #[serde(skip_serializing_if = "str::is_empty")]
        ending: &'static str,
    },
    /// It was served, and the release did not wait for its end.
    Cut {
        #[serde(flatten)]
        client: Client,
        seconds: f64,
    },
    /// Its container was never reached.
    Refused {
        #[serde(flatten)]
        client: Client,
        seconds: f64,
        cause: String,
    },
    /// So many connections by NAT are open that no other event tells of, and so many have ended: the newest ones are followed.
    Unlisted { open: usize, ended: u64 },
    /// So many events are missing here: they came faster than they were read.
    Lost { events: u64 },
    /// Nothing is in force any more.
    Released,
}

#[derive(Serialize)]
pub(super) struct Client {
    /// The same in all events of a connection or session.
    pub(super) id: u64,
    pub(super) protocol: String,
    pub(super) client: SocketAddr,
    pub(super) host: Option<SocketAddr>,
    pub(super) path: String,
    pub(super) container_port: u16,
    /// Who serves it: `proxy` or `nat`.
    pub(super) by: &'static str,
}

#[derive(Serialize)]
pub(super) struct Published {
    pub(super) protocol: String,
    /// `*` for every address.
    pub(super) host: String,
    pub(super) host_ports: String,
    pub(super) endpoint: Vec<String>,
    pub(super) container_ports: String,
}

#[derive(Serialize)]
pub(super) struct Timed {
    pub(super) time: f64,
    #[serde(flatten)]
    pub(super) event: Event,
}

impl From<&Binding> for Published {
    fn from(binding: &Binding) -> Self {
        Self {
            protocol: binding.protocol().to_string(),
            host: binding.host_addr().to_string(),
            host_ports: binding.host_ports().to_string(),
            endpoint: binding.endpoint().addrs().map(|addr| addr.to_string()).collect(),
            container_ports: binding.container_ports().to_string(),
        }
    }
}
