//! Settings of the kernel that NAT needs, set and put back.

mod error;
mod guard;
mod key;

pub use error::SysctlError;
pub use guard::SysctlGuard;
pub use key::Sysctl;
