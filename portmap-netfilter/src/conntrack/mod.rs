//! Connection tracking, by ctnetlink, in process: seeing what NAT serves, and making it forget.

mod entry;
mod error;
mod flow;
mod handle;
mod local;
mod read;
mod request;
mod session;
mod sought;
mod tuple;
mod wanted;

pub use error::ConntrackError;
pub use flow::{Counted, Flow, FlowState};
pub use handle::Conntrack;
