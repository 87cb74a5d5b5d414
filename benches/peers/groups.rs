//! What is measured, in groups that belong together.

use portmap::Protocol;

use crate::load::Load;

/// Loads of a kind, and what is of interest about them.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What is done, for whoever reads the result.
    pub(crate) about: &'static str,
    pub(crate) cells: &'static [(&'static str, Load)],
    /// The first one is what the picture shows.
    pub(crate) measures: &'static [Measure],
}

/// One figure of a run.
#[derive(Clone, Copy)]
pub(crate) struct Measure {
    /// Its key in [`Values`](crate::load::Values).
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// What the value is multiplied by, to be in the title's unit.
    pub(crate) scale: f64,
    /// Whether more is better.
    pub(crate) more: bool,
}

const fn more(key: &'static str, title: &'static str, scale: f64) -> Measure {
    Measure { key, title, scale, more: true }
}

const fn less(key: &'static str, title: &'static str, scale: f64) -> Measure {
    Measure { key, title, scale, more: false }
}

const LATENCY: [Measure; 2] =
    [less("p50", "median latency, µs", 1.0), less("p99", "99th percentile of latency, µs", 1.0)];

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "bulk",
        title: "Bulk transfers over TCP",
        about: "Streams that send as fast as they are read.",
        cells: &[
            ("1 stream down", Load::Download(1)),
            ("8 streams down", Load::Download(8)),
            ("1 stream up", Load::Upload(1)),
        ],
        measures: &[more("rate", "Gbit/s", 8e-9), less("cpu", "CPU of the proxy, s a GB", 1.0)],
    },
    Group {
        name: "keep-alive",
        title: "Round trips on open TCP connections",
        about: "Each connection sends 64 bytes, waits until they are back, and sends them again.",
        cells: &[
            ("1 connection", Load::KeepAlive(1)),
            ("32 connections", Load::KeepAlive(32)),
            ("256 connections", Load::KeepAlive(256)),
        ],
        measures: &[
            more("rate", "thousand round trips a second", 1e-3),
            LATENCY[0],
            LATENCY[1],
            less("cpu", "CPU of the proxy, µs a round trip", 1e-3),
        ],
    },
    Group {
        name: "short",
        title: "Short TCP connections",
        about: "Connect, send 64 bytes, wait until they are back and for the container's end of the connection; so many at a time.",
        cells: &[
            ("1 at a time", Load::Short(1)),
            ("32 at a time", Load::Short(32)),
            ("256 at a time", Load::Short(256)),
        ],
        measures: &[
            more("rate", "thousand connections a second", 1e-3),
            LATENCY[0],
            LATENCY[1],
            less("cpu", "CPU of the proxy, µs a connection", 1e-3),
            less("failed", "failed connections", 1.0),
        ],
    },
    Group {
        name: "udp",
        title: "Round trips over UDP",
        about: "Each socket sends 64 bytes, waits until they are back, and sends them again.",
        cells: &[
            ("1 socket", Load::UdpEcho(1)),
            ("32 sockets", Load::UdpEcho(32)),
            ("1,000 sockets", Load::UdpEcho(1000)),
        ],
        measures: &[
            more("rate", "thousand round trips a second", 1e-3),
            LATENCY[0],
            LATENCY[1],
            less("cpu", "CPU of the proxy, µs a round trip", 1e-3),
            less("lost", "datagrams sent again after 100 ms", 1.0),
        ],
    },
    Group {
        name: "flood",
        title: "More UDP than can be carried",
        about: "One socket sends 64 bytes as fast as it can; what counts is what the container reads.",
        cells: &[("one flow", Load::Flood)],
        measures: &[
            more("rate", "thousand datagrams delivered a second", 1e-3),
            more("offered", "thousand datagrams sent a second", 1e-3),
            less("cpu", "CPU of the proxy, µs a datagram", 1e-3),
        ],
    },
    Group {
        name: "burst",
        title: "A burst of new UDP clients",
        about: "1,000 sockets send one datagram each, at once.",
        cells: &[("1,000 sockets", Load::Burst(1000))],
        measures: &[less("lost", "datagrams without an answer", 1.0)],
    },
    Group {
        name: "segments",
        title: "A UDP sender with segmentation",
        about: "One socket hands the kernel 40 datagrams of 1,200 bytes at a time (UDP_SEGMENT), each millisecond.",
        cells: &[("one flow", Load::Segments)],
        measures: &[
            less("cpu", "CPU of the proxy, µs a datagram", 1e-3),
            more("rate", "thousand datagrams delivered a second", 1e-3),
            less("lost", "datagrams lost, %", 1.0),
        ],
    },
    Group {
        name: "memory",
        title: "Memory",
        about: "What each of 1,000 more connections or sessions costs the peer's processes, after the first 100, and each of 1,000 ports (20 where a port is a process).",
        cells: &[
            ("an idle connection", Load::Connections(1000)),
            ("an idle UDP session", Load::Sessions(1000)),
            ("a TCP port", Load::Ports(Protocol::Tcp)),
            ("a UDP port", Load::Ports(Protocol::Udp)),
        ],
        measures: &[
            less("pss", "KiB (proportional share)", 1.0),
            less("private", "KiB (private)", 1.0),
            less("descriptors", "descriptors", 1.0),
        ],
    },
    Group {
        name: "publish",
        title: "Publishing neighbouring ports",
        about: "From the order until the ports are published. Ours are asked by a process that runs, as an embedder's does; the others are programs, started once (CNI's portmap; netavark, which makes a bridge and the container's interface at the same time) or once a port (iptables, docker-proxy). docker-run is the difference that ports make to a container's start and removal (the median of seven pairs for one port, one pair for a hundred); on a busy machine a start varies by more than one port takes.",
        cells: &[
            ("1 port", Load::Publish(1)),
            ("100 ports", Load::Publish(100)),
            ("10,000 ports", Load::Publish(10_000)),
        ],
        measures: &[less("up", "ms up", 1e-6), less("down", "ms down", 1e-6)],
    },
];
