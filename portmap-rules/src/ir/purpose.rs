//! Why rules exist.

use std::fmt;

/// Why a rule exists. Displayed as a sentence for people who read the rules.
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
    /// What somebody else's NAT has led to a container is for others to judge.
    LedByOthers,
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
    /// An IPv6 source that stands for an IPv4 address is nobody's.
    MappedSource,
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
    /// Nobody outside speaks as 127.0.0.0/8.
    LoopbackSourceGuard,
    /// Nobody outside reaches a port that is published on a loopback address.
    LoopbackPortGuard,
    /// What connection tracking makes nothing of is looked at apart.
    Invalid,
    /// A loopback address that NAT doesn't serve.
    LoopbackUntranslated,
    /// Such a packet to a published port.
    InvalidArrival,
    /// Such a packet of a container.
    InvalidDeparture,
    /// A connection was judged when it began.
    Judged,
    /// An interface that may go round NAT.
    Trusted,
    /// Published ports are reached through NAT alone.
    DirectGuard,
    /// Answers to clients whose addresses the proxy speaks from.
    Divert,
    /// An answer goes by the routing table of the address that was called.
    AnswerAsCalled,
    /// An answer to a container goes no other way.
    AnswerInside,
    /// Fragments are put together before they are looked at.
    Defragment,
    /// The way through a chain of somebody else's that drops.
    Passage,
    /// What NAT has led to a container passes there.
    PassageIn,
    /// And so do the answers.
    PassageAnswers,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserFirst => {
                "A person's own rules are asked before all others, so that they can forbid \
                 what would be published."
            }
            Self::Enter => "The way into the owner's chains.",
            Self::Next => "The way on to the owner's next chain.",
            Self::UserDefault => "A person's chain has nothing to say until somebody writes to it.",
            Self::Answers => "Answers to what containers asked come in, whoever sent them.",
            Self::InternalIn => "An internal network is reached from within alone.",
            Self::InternalOut => "An internal network reaches nothing but itself.",
            Self::RoutedAnswers => {
                "Containers of a routed network answer whoever asked them, in other \
                 networks too."
            }
            Self::RoutedOpen => {
                "Isolation doesn't hold for packets to a routed network: its published \
                 ports are open to all."
            }
            Self::RoutedIcmp => "A routed network answers to ping, and hears of errors on the way.",
            Self::Isolation => {
                "Containers of different networks don't reach each other, not even by a \
                 published port."
            }
            Self::Published => {
                "A published port of a container is reached from outside its network."
            }
            Self::LedByOthers => {
                "What NAT has led here and this owner has not published, somebody else has: another \
                 owner of the same bridge, say. It is not for this one to drop."
            }
            Self::Unpublished => "What is not published is not reached from outside its network.",
            Self::Unprotected => {
                "This network asked for no protection: every port is reached from outside."
            }
            Self::Outgoing => "Containers reach their neighbours and the world.",
            Self::Neighbours => "Whether containers of one network talk to each other.",
            Self::NoNeighbours => "Containers of this network don't talk to each other.",
            Self::OutgoingAlone => "They still reach the world.",
            Self::ToHost => {
                "Only packets to the host itself are looked up: transit traffic to a \
                 published port's number is never touched."
            }
            Self::FromHost => {
                "The same for packets that the host itself sends; a loopback address that \
                 NAT cannot serve is left out, to be refused at once."
            }
            Self::LeftToProxy => {
                "What a container sends to the host is the proxy's: it serves other \
                 networks, and answers come back the way they went."
            }
            Self::LinkLocal => {
                "Nothing would route the answer to a link-local address back through NAT."
            }
            Self::MappedSource => {
                "A packet from a v4-mapped address is forged: the container would answer somebody \
                 else over IPv4, its own published port for one, without end."
            }
            Self::Translate => "The published port: from here on the packet goes to the container.",
            Self::HostSource => {
                "What the host itself sends to a container comes from the bridge's address: \
                 the container could not answer 127.0.0.1."
            }
            Self::OutgoingSource => {
                "What containers send into the world has the host's address, as nobody \
                 there knows theirs."
            }
            Self::OwnPort => {
                "A container that calls its own published port would not take a packet that \
                 comes from itself."
            }
            Self::NeighbourSource => {
                "A container that calls a neighbour's published port, or its own, is \
                 answered by way of the host, where NAT is undone."
            }
            Self::Judged => {
                "What belongs to a connection was judged when that began, and answers go where \
                 the question came from."
            }
            Self::LoopbackGuard => {
                "Nobody outside reaches 127.0.0.0/8: a bridge may route it, and NAT would \
                 lead a packet past the kernel's own check."
            }
            Self::LoopbackSourceGuard => {
                "Nobody outside speaks as 127.0.0.0/8: a bridge that routes it would have the host's \
                 own sockets take such a packet for the host's."
            }
            Self::Invalid => {
                "What connection tracking makes nothing of, a segment beyond the window say, passes \
                 NAT by, and is looked at apart."
            }
            Self::LoopbackUntranslated => {
                "NAT doesn't serve this loopback address, so what comes to it is for the host's own \
                 socket."
            }
            Self::InvalidArrival => {
                "Untranslated, a packet to a published port is the host's, which would reset a \
                 connection that it knows nothing of."
            }
            Self::InvalidDeparture => {
                "Untranslated, a packet from a container would leave with the container's own \
                 address."
            }
            Self::LoopbackPortGuard => {
                "A port published on a loopback address is for the host alone."
            }
            Self::Trusted => "This interface may go round NAT to the published port.",
            Self::DirectGuard => {
                "A published port is reached through NAT alone, not by the container's own \
                 address."
            }
            Self::Divert => {
                "What a container answers to a client whose address the proxy speaks from is the \
                 proxy's, wherever that client is."
            }
            Self::AnswerAsCalled => {
                "An answer leaves as the host's own would from the address that was called: by the \
                 table that policy routing has for it."
            }
            Self::AnswerInside => "A container is behind its bridge, whichever address it called.",
            Self::Defragment => {
                "Decides nothing: a rule that asks for connections has the kernel put fragments \
                 together, of which only the first one says which socket it is for."
            }
            Self::Passage => "The way through a chain of somebody else's that drops.",
            Self::PassageIn => "What NAT has led to a container passes.",
            Self::PassageAnswers => "So do a container's answers.",
        })
    }
}
