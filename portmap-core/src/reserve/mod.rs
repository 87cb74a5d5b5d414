//! Taking host ports: all of a request, or none.

mod candidates;
mod host_socket;
mod socket;

use std::{os::fd::OwnedFd, time::Duration};

use socket2::SockRef;
use tokio::{task, time::sleep};

pub use host_socket::HostSocket;

use crate::{
    Binding, Endpoint, Error, ErrorKind, HostPort, Mapping, Port, PortRange, Publish,
    reserve::socket::Refusal,
};

/// How many sockets are opened before other tasks get a turn: about a millisecond's worth.
const SOCKETS_A_TURN: usize = 64;

/// How long a port may have no holder and still be taken, and how often it is tried again. Between fork and exec a child has
/// what its parent had open: where a process starts others, a port that was just released is taken for that long, by
/// nobody who could be seen. A holder that cannot be seen for lack of privilege is
/// waited for as well, 30 ms in all.
const ORPHANED: Duration = Duration::from_millis(10);
const ATTEMPTS_AT_AN_ORPHAN: usize = 3;

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
                None => reserve(mapping, request.endpoint()).await?,
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
        Ok(Self { binding, sockets: sockets.into_iter().map(HostSocket::of).collect() })
    }

    /// What will be in force.
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The sockets, socket *n* for host port *n*, as long as they are not served. SCTP ports have none.
    pub fn sockets(&self) -> &[HostSocket] {
        &self.sockets
    }

    /// Lets clients in, and hands over the sockets, socket *n* for host port *n*.
    ///
    /// TCP ones listen then. [`HostSocket::refuse`] is the way back.
    ///
    /// # Errors
    /// [`Backend`](ErrorKind::Backend) where the kernel does not let a socket listen.
    pub fn serve(self) -> Result<(Binding, Vec<HostSocket>), Error> {
        for socket in &self.sockets {
            socket::serve(self.binding.protocol(), socket).map_err(|error| {
                let message = format!("{} cannot be opened to clients", self.binding);
                Error::new(ErrorKind::Backend, message).with_source(error)
            })?;
        }
        Ok((self.binding, self.sockets))
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

/// Takes the first candidate that is free on all addresses of the mapping.
async fn reserve(mapping: &Mapping, endpoint: Endpoint) -> Result<Vec<Reserved>, Error> {
    let protocol = mapping.protocol();
    let is_exact = matches!(mapping.host_port(), HostPort::Exact(_));
    let mut first_refusal = None;
    let mut opened = 0;
    for first in candidates::of(mapping)? {
        let mut taken = take_block(mapping, endpoint, first, &mut opened).await;
        for _ in 0..ATTEMPTS_AT_AN_ORPHAN {
            match &taken {
                Err(refusal) if is_exact && refusal.is_by_nobody(protocol) => {}
                _ => break,
            }
            sleep(ORPHANED).await;
            taken = take_block(mapping, endpoint, first, &mut opened).await;
        }
        match taken {
            Ok(reserved) => return Ok(reserved),
            Err(refusal) if refusal.concerns_the_port() => {
                first_refusal.get_or_insert(refusal);
            }
            Err(refusal) => return Err(refusal.into_error(protocol)),
        }
    }
    let wanted: PortRange = match mapping.host_port() {
        HostPort::Exact(ports) | HostPort::AnyOf(ports) => ports,
        HostPort::Ephemeral => candidates::ephemeral_ports()?,
    };
    let cause = first_refusal.map(|refusal| refusal.into_error(protocol));
    match (mapping.host_port(), cause) {
        (HostPort::Exact(_), Some(cause)) => Err(cause),
        (_, cause) => {
            let message = match mapping.container_ports().len() {
                1 => format!("no port of {wanted}/{protocol} is free"),
                n => format!("no {n} neighbouring ports of {wanted}/{protocol} are free"),
            };
            let error = Error::new(ErrorKind::AddrInUse, message);
            Err(match cause {
                Some(cause) => error.with_source(cause),
                None => error,
            })
        }
    }
}

/// Takes the ports from `first` on, on every address of the mapping, or none.
async fn take_block(
    mapping: &Mapping,
    endpoint: Endpoint,
    first: Port,
    opened: &mut usize,
) -> Result<Vec<Reserved>, Refusal> {
    let mut taken = Vec::new();
    for host_addr in mapping.host() {
        let ports = mapping.container_ports();
        let Some(binding) = Binding::new(mapping.protocol(), host_addr, first, endpoint, ports)
        else {
            continue;
        };
        let mut sockets = Vec::with_capacity(ports.len());
        for port in binding.host_ports().iter() {
            sockets.extend(socket::open(mapping.protocol(), host_addr, port)?);
            *opened += 1;
            if opened.is_multiple_of(SOCKETS_A_TURN) {
                task::yield_now().await;
            }
        }
        taken.push(Reserved { binding, sockets });
    }
    Ok(taken)
}
