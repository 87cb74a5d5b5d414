//! Making connection tracking forget, by ctnetlink, in process.

mod entry;
mod error;
mod handle;
mod local;
mod request;
mod session;
mod wanted;

pub use error::ConntrackError;
pub use handle::Conntrack;
