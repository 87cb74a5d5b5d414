//! The data path of UDP: sessions, and the datagrams that go through them.

mod arrivals;
mod batch;
mod cutting;
mod dial;
mod forward;
mod headed;
mod peer;
mod relay;
mod serve;
mod session;
mod socket;
mod table;
mod waiting;

pub use dial::UdpDial;
pub use forward::{Carried, Exchanged, ForwardSession, SessionEnding};
pub(crate) use serve::Serve;
pub use session::Session;
