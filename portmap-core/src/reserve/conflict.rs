//! Why a port cannot be had: who has it.

use std::thread;

use tokio::sync::oneshot;

use super::claim;
use crate::{Binding, Error, ErrorKind, Holder, HostAddr, Port, Protocol, holder::holders};

/// Who has a port that is taken.
#[derive(Debug)]
pub(super) struct Conflict {
    protocol: Protocol,
    host: HostAddr,
    port: Port,
    by: By,
}

#[derive(Debug)]
enum By {
    /// A lease or a reservation of this process.
    Own(Binding),
    Others(Vec<Holder>),
}

impl Conflict {
    /// Finds out, for the network namespace of the calling thread. One of the process's own is known; for others the
    /// descriptors of every process are read, which takes some milliseconds and more, on a thread of its own.
    pub(super) async fn find(protocol: Protocol, host: HostAddr, port: Port) -> Self {
        let by = match claim::own(protocol, host, port) {
            Some(binding) => By::Own(binding),
            None => By::Others(look(protocol, host, port).await),
        };
        Self { protocol, host, port, by }
    }

    pub(super) fn is_of(&self, host: HostAddr, port: Port) -> bool {
        (self.host, self.port) == (host, port)
    }

    /// Whether nobody can be seen who has the port.
    pub(super) fn is_by_nobody(&self) -> bool {
        match &self.by {
            By::Own(_) => false,
            By::Others(holders) => holders.iter().all(|holder| holder.processes().is_empty()),
        }
    }

    pub(super) fn into_error(self) -> Error {
        let wanted = format!("{}:{}/{}", self.host, self.port, self.protocol);
        let message = match self.by {
            By::Own(binding) => format!(
                "{wanted} is in use by this process itself, which publishes {} {}:{}",
                binding.protocol(),
                binding.host_addr(),
                binding.host_ports(),
            ),
            By::Others(holders) => match holders.first() {
                Some(holder) => holder.to_string(),
                None => format!("{wanted} is in use"),
            },
        };
        // What the kernel answered says no more than the kind does.
        Error::new(ErrorKind::AddrInUse, message)
    }
}

/// A thread is born in the network namespace of the one that starts it; one of the runtime's pool may be elsewhere.
async fn look(protocol: Protocol, host: HostAddr, port: Port) -> Vec<Holder> {
    let (tell, told) = oneshot::channel();
    let look = move || {
        // Nobody may be waiting any more.
        let _ = tell.send(holders(protocol, host, port.into()));
    };
    match thread::Builder::new().name("portmap-holders".to_owned()).spawn(look) {
        Ok(_) => told.await.unwrap_or_default(),
        // Where there is no thread to be had, the caller's has to do.
        Err(_) => holders(protocol, host, port.into()),
    }
}
