//! One owner of a name in a network namespace.

mod error;
mod file;
mod holder;
mod name;

use portmap_rules::Prefix;
use tracing::warn;

pub use error::OwnerError;

use self::{file::LockFile, holder::NameHolder, name::Name};

/// The right to be the one that manages a name's rules in a network namespace, until it is dropped.
///
/// For root it is the lock of a file in `/run/portmap`, which nobody else can open, with the namespace's number and the
/// prefix in its name. For who has no such directory (a user namespace, a container that sees the host's) it is an
/// abstract Unix socket that nobody talks to: the kernel keeps such addresses for each network namespace, just as it
/// keeps rules. Both need no cleaning up, and end with the process, however that ends. Root takes the address as well,
/// so that those see it who look for nothing else.
///
/// Any process in the namespace can take an address. One that means harm can so keep an owner without privilege from
/// starting, and is named then; it gains nothing else by it. Root goes by the file: an address that an ordinary user's
/// process has taken is logged, and left to it.
#[derive(Debug)]
pub struct OwnerLock {
    /// `None` where an ordinary user's process has taken it.
    _name: Option<Name>,
    /// `None` where there is no place for one. Last: who finds it free finds the name free.
    _file: Option<LockFile>,
}

impl OwnerLock {
    /// Becomes the owner of a prefix in the network namespace of the calling thread. Prefixes that differ in case
    /// alone are the same, as are their nftables tables.
    ///
    /// It waits only for an owner that has given up, and whose process is just starting another one: between fork and
    /// exec that one has the socket as well. That is about a millisecond. Where somebody is the owner, it looks through
    /// the processes for who that is, some milliseconds for each thousand of them.
    ///
    /// # Errors
    /// [`OwnerError::Busy`] where somebody is.
    pub fn acquire(prefix: &Prefix) -> Result<Self, OwnerError> {
        let owned = prefix.as_str().to_ascii_lowercase();
        let busy = |holder| OwnerError::Busy { prefix: prefix.clone(), holder };
        let file =
            LockFile::take(&owned).map_err(|holder| busy(holder.map(|it| it.to_string())))?;
        if let Some(name) = Name::take(&owned).map_err(OwnerError::Socket)? {
            return Ok(Self { _name: Some(name), _file: file });
        }
        let holder = NameHolder::find(&owned);
        match (file, holder) {
            (Some(file), Some(holder)) if holder.is_ordinary() => {
                warn!(
                    %prefix, %holder,
                    "a process without privilege has taken the name of the rules' owner; it is passed over"
                );
                Ok(Self { _name: None, _file: Some(file) })
            }
            (_, holder) => Err(busy(holder.map(|holder| holder.to_string()))),
        }
    }
}
