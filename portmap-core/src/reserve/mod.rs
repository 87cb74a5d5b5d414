//! Taking host ports: all of a request, or none.

mod candidates;
mod claim;
mod conflict;
mod door;
mod host_socket;
mod socket;
mod take;

use std::os::fd::OwnedFd;

use socket2::SockRef;

pub use host_socket::HostSocket;

use self::{claim::Claim, door::Door};
use crate::{Binding, Endpoint, Error, ErrorKind, HostPort, Publish};

/// The host sockets of one request, bound and not served. Dropping it frees them.
///
/// From the moment of reservation nobody else can have the ports. Until [`Reserved::serve`] a TCP client is refused
/// at once, as before; it never meets a port that accepts and hangs. Where rules in the kernel serve a port its socket
/// is never served: it keeps others away.
///
/// Clones share the sockets: the ports are taken until the last of them, and of what serves them, is gone.
///
/// For authors of mappers.
#[derive(Clone, Debug)]
pub struct Reservation {
    reserved: Vec<Reserved>,
}

/// One [`Binding`] of a [`Reservation`] and its sockets. Clones share them.
#[derive(Clone, Debug)]
pub struct Reserved {
    binding: Binding,
    sockets: Vec<HostSocket>,
}

impl Reservation {
    /// Reserves the host ports of a request, all or none.
    ///
    /// A mapping for all addresses takes one dual-stack socket a port (`IPV6_V6ONLY` off), an IPv4 one where the
    /// kernel has no IPv6. Ports that wait in TIME_WAIT are no obstacle. SCTP ports get no socket: no process serves
    /// them, and many kernels could not open one. Exact ports are taken before free ones
    /// are looked for, so that no mapping of a request takes what another one names.
    ///
    /// What a request [brings reserved](Publish::with_reserved) is shared with it, and not taken again.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where [`Publish::check`] says so, and [`AddrInUse`](ErrorKind::AddrInUse)
    /// (with the holder, where it can be seen), [`AddrNotAvailable`](ErrorKind::AddrNotAvailable),
    /// [`Denied`](ErrorKind::Denied) or [`Exhausted`](ErrorKind::Exhausted) for the first port that could not be had.
    ///
    /// # Cancel safety
    /// Dropping the future frees what was taken.
    pub async fn take(request: &Publish) -> Result<Self, Error> {
        request.check()?;
        let mut order: Vec<_> = request.mappings().iter().enumerate().collect();
        order.sort_by_key(|(_, mapping)| match mapping.host_port() {
            HostPort::Exact(_) => 0,
            HostPort::AnyOf(_) => 1,
            HostPort::Ephemeral => 2,
        });
        let mut taken = Vec::with_capacity(order.len());
        for (place, mapping) in order {
            let reserved = match request.reserved(place) {
                Some(reserved) => vec![reserved.clone()],
                None => take::take(mapping, request.endpoint()).await?,
            };
            taken.push((place, reserved));
        }
        taken.sort_by_key(|(place, _)| *place);
        let reserved = taken.into_iter().flat_map(|(_, reserved)| reserved).collect();
        Ok(Self { reserved })
    }

    /// What will be in force, in the order of the request.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.reserved.iter().map(Reserved::binding)
    }

    /// Each binding with its sockets, in the order of the request.
    pub fn reserved(&self) -> &[Reserved] {
        &self.reserved
    }

    /// A request that [brings](Publish::with_reserved) all of it.
    pub(crate) fn request(&self, endpoint: Endpoint) -> Publish {
        self.reserved.iter().cloned().fold(Publish::new(endpoint), Publish::with_reserved)
    }

    /// Frees the host ports of other bindings.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Binding) -> bool) {
        self.reserved.retain(|reserved| keep(reserved.binding()));
    }

    /// The same, to be served.
    pub fn into_reserved(self) -> Vec<Reserved> {
        self.reserved
    }
}

impl Reserved {
    /// Sockets that somebody else has bound, for a [`Binding`] that says what they are: socket *n* for host port *n*.
    ///
    /// They are made non-blocking and close-on-exec. TCP ones may listen already.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where there is not one socket a host port, and
    /// [`Backend`](ErrorKind::Backend) where one of them is not a socket.
    pub fn adopt(binding: Binding, sockets: Vec<OwnedFd>) -> Result<Self, Error> {
        let (wanted, given) = (binding.host_ports().len(), sockets.len());
        if wanted != given {
            let message = format!("{binding} is of {wanted} ports, and has {given} sockets");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        for socket in &sockets {
            let socket = SockRef::from(socket);
            let set = socket.set_nonblocking(true).and_then(|()| socket.set_cloexec(true));
            set.map_err(|error| {
                let message = format!("{binding} cannot be served by what was handed over");
                Error::new(ErrorKind::Backend, message).with_source(error)
            })?;
        }
        let claim = Claim::new(binding.clone());
        let sockets = sockets.into_iter().map(|socket| HostSocket::of(socket, &claim)).collect();
        Ok(Self { binding, sockets })
    }

    /// What will be in force.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The sockets, socket *n* for host port *n*, as long as they are not served. SCTP ports have none.
    pub fn sockets(&self) -> &[HostSocket] {
        &self.sockets
    }

    /// Lets clients in, and hands over the sockets, socket *n* for host port *n*: to the only one who serves them.
    ///
    /// TCP ones listen then. [`HostSocket::refuse`] is the way back, and so is dropping the sockets.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) where a clone of this is being served, until the last of the sockets that it handed over has
    /// gone: two who accept from one socket would take each other's clients, and one who stops would refuse the other's.
    /// Where the kernel does not let a socket listen, what [`Error::of_io`] makes of its answer; none of them does then.
    pub fn serve(self) -> Result<(Binding, Vec<HostSocket>), Error> {
        let Self { binding, sockets } = self;
        let Some(first) = sockets.first() else { return Ok((binding, sockets)) };
        let fds = sockets.iter().map(HostSocket::fd);
        let Some(door) = Door::new(first.claim(), fds) else {
            let message = format!("{binding} is being served already");
            return Err(Error::new(ErrorKind::Busy, message));
        };
        for socket in &sockets {
            door::open(binding.protocol(), socket).map_err(|error| {
                Error::of_io(format!("{binding} cannot be opened to clients"), error)
            })?;
        }
        let sockets = sockets.into_iter().map(|socket| socket.behind(&door)).collect();
        Ok((binding, sockets))
    }
}

impl PartialEq for Reserved {
    /// Whether they are of one binding and share their sockets.
    fn eq(&self, other: &Self) -> bool {
        self.binding == other.binding
            && self.sockets.len() == other.sockets.len()
            && self.sockets.iter().zip(&other.sockets).all(|(one, two)| one.is(two))
    }
}

impl Eq for Reserved {}
