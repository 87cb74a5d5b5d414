//! Flows as an embedder sees them.

use std::net::SocketAddr;

use portmap_core::Protocol;

/// A connection, or a UDP sender's flow, that NAT leads to a binding's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flow {
    /// The kernel's number for it. Together with the addresses it is the same for as long as the flow is remembered, and by
    /// itself it need not be unique.
    pub id: u32,
    /// The protocol.
    pub protocol: Protocol,
    /// Who began it.
    pub client: SocketAddr,
    /// The address of the host that the client used.
    pub host: SocketAddr,
    /// Who answers: the container.
    pub endpoint: SocketAddr,
    /// The client's address as the container sees it: its own, or the gateway's where it is masqueraded.
    pub observed: SocketAddr,
    /// How far it has come.
    pub state: FlowState,
    /// What went to the container; `None` where the kernel did not count when the flow began
    /// (`net.netfilter.nf_conntrack_acct`).
    pub to_endpoint: Option<Counted>,
    /// What came back; `None` as above.
    pub to_client: Option<Counted>,
}

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowState {
    /// The container has not answered, or the handshake of TCP is not over.
    Opening,
    /// Both sides have spoken.
    Established,
    /// TCP: a side has said all that it had to say.
    Closing,
    /// TCP: it is over or was reset. The kernel remembers it for some time: two minutes after an end in order, ten seconds
    /// after a reset, unless told otherwise.
    Closed,
}

/// What the kernel counted one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many packets.
    pub packets: u64,
    /// How many bytes, the headers of IP and above included.
    pub bytes: u64,
}
