//! Netlink for netfilter: attributes, messages, sockets, answers.

mod protocol;
mod reply;
mod socket;
mod writer;

pub(crate) use protocol::number;
pub(crate) use reply::{Ack, Attrs, Reply, replies};
pub(crate) use socket::Socket;
pub(crate) use writer::{HEADER, Message, Writer};
