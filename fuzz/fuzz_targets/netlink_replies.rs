#![no_main]
#![allow(dead_code, unreachable_pub)]

use libfuzzer_sys::fuzz_target;

#[path = "../../portmap-netfilter/src/netlink/reply.rs"]
mod reply;

use reply::{Attrs, Reply, replies};

/// All attributes, and those within each.
fn count(attrs: Attrs<'_>, depth: usize) -> usize {
    let within = |value| if depth < 4 { count(Attrs(value), depth + 1) } else { 0 };
    attrs.iter().map(|(kind, value)| {
        assert!(attrs.find(kind).is_some());
        let _ = attrs.be32(kind);
        1 + within(value)
    }).sum()
}

fuzz_target!(|datagram: &[u8]| {
    let mut messages = 0;
    for reply in replies(datagram) {
        messages += 1;
        match reply {
            Reply::Message { attrs, .. } => {
                // An attribute has a head of 4 bytes, and may be within four others.
                assert!(count(attrs, 0) * 4 <= datagram.len() * 5);
            }
            Reply::Ack(ack) => drop(format!("{ack:?}")),
            Reply::Done => {}
        }
    }
    assert!(messages * 16 <= datagram.len());
});
