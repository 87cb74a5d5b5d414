//! Netlink for netfilter: attributes, messages, sockets, answers.

mod ask;
mod dump;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(all(test, feature = "netns"))]
pub(crate) mod lossy;
mod protocol;
mod reply;
mod socket;
mod transport;
mod writer;

pub(crate) use ask::{Answer, ask};
pub(crate) use dump::{dump, fold, fold_with_heads};
pub(crate) use protocol::number;
pub(crate) use reply::{Ack, Attrs, Reply, replies};
pub(crate) use socket::Socket;
pub(crate) use transport::Transport;
pub(crate) use writer::{HEADER, Message, Writer};
