//! The data path of UDP: sessions, and the datagrams that go through them.

mod arrivals;
mod batch;
mod circle;
mod cutting;
mod dial;
mod ends;
mod forward;
mod headed;
mod host;
mod peer;
mod relay;
mod serve;
mod session;
mod socket;
mod table;
mod unbegun;
mod waiting;

pub(crate) use circle::{Circles, Namespace};
pub use dial::UdpDial;
pub use forward::{Carried, Exchanged, ForwardSession, SessionEnding};
pub(crate) use host::is_own;
pub(crate) use serve::Serve;
pub use session::Session;
