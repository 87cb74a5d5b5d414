//! A name that one process of a network namespace holds as long as it lives.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::error::{LabError, Step};
use crate::node::Node;

/// How long [`Claim::wait`] waits for a name that another process holds.
const LIMIT: Duration = Duration::from_secs(10);

/// The right to a name, held by an abstract unix socket: such names are the network namespace's own,
/// and the kernel frees them with the process, however it ends.
#[derive(Debug)]
pub(crate) struct Claim {
    _socket: UnixDatagram,
}

impl Claim {
    /// `None` when somebody holds the name.
    pub(crate) async fn take(node: &Node, name: &str) -> Result<Option<Self>, LabError> {
        let path = format!("portmap-testkit/{name}");
        let bound = node
            .run(async move { UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(path)?) })
            .await;
        match bound {
            Ok(socket) => Ok(Some(Self { _socket: socket })),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error).step(|| format!("claim the name {name}")),
        }
    }

    /// Waits until nobody else holds the name.
    pub(crate) async fn wait(node: &Node, name: &str) -> Result<Self, LabError> {
        let wait = async {
            loop {
                if let Some(claim) = Self::take(node, name).await? {
                    return Ok(claim);
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, wait).await.unwrap_or_else(|_| {
            Err(LabError::new(format!("the name {name} stayed taken for {LIMIT:?}")))
        })
    }
}
