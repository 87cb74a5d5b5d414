//! Transport protocols as the kernel numbers them.

use portmap_core::Protocol;

/// The number in an IP header, as IANA assigns it.
pub(crate) const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
        // The enum may grow; then this must, before it is of use.
        _ => 255,
    }
}
