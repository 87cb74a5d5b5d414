//! Why rules exist.

/// Why a rule exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A person's own rules come before all others.
    UserFirst,
    /// The way into the owner's chains.
    Enter,
    /// The way on between the owner's chains.
    Next,
    /// A person's chain begins empty.
    UserDefault,
    /// Answers to what containers asked.
    Answers,
    /// An internal network is reached from within alone.
    InternalIn,
    /// An internal network reaches nothing but itself.
    InternalOut,
    /// Answers of containers in a routed network.
    RoutedAnswers,
    /// A routed network is reached from other networks.
    RoutedOpen,
    /// A routed network answers to ping and hears of errors.
    RoutedIcmp,
    /// Networks are kept apart.
    Isolation,
    /// A published port of a container.
    Published,
    /// What is not published is not reached from outside.
    Unpublished,
    /// The network asked for no protection.
    Unprotected,
    /// Containers talk to neighbours and to the world.
    Outgoing,
    /// Containers of one network talk to each other.
    Neighbours,
    /// Containers of one network don't talk to each other.
    NoNeighbours,
    /// Containers that don't talk to each other still talk to the world.
    OutgoingAlone,
    /// Only what is for the host itself is looked up: transit traffic is never touched.
    ToHost,
    /// The same for what the host itself sends.
    FromHost,
    /// What comes from a container is the proxy's.
    LeftToProxy,
    /// A link-local source could not be answered through NAT.
    LinkLocal,
    /// The published port itself.
    Translate,
    /// What the host itself sends is answered to the bridge.
    HostSource,
    /// What containers send leaves with the host's address.
    OutgoingSource,
    /// A container that calls its own published port is answered by way of the host.
    OwnPort,
    /// A container that calls a neighbour's published port is answered by way of the host.
    NeighbourSource,
    /// Nobody outside reaches 127.0.0.0/8.
    LoopbackGuard,
    /// Nobody outside reaches a port that is published on a loopback address.
    LoopbackPortGuard,
    /// An interface that may go round NAT.
    Trusted,
    /// Published ports are reached through NAT alone.
    DirectGuard,
}
