//! TCP: accepting, dialling, carrying bytes.

pub(crate) mod accept;
pub(crate) mod connect;
pub(crate) mod connection;
mod dial;
pub(crate) mod forward;
mod listener;
pub(crate) mod relay;
mod silence;

pub use connection::Connection;
pub use dial::{Dial, TcpDial};
pub use forward::{Forward, ForwardError, Transferred};
pub use relay::{Ending, Side};
