//! What can be said of ports that nobody is seen to have.

use std::{
    collections::HashSet,
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
};

use portmap::{
    Error, ErrorKind, Holder, HostAddr, HostPort, Mapping, Port, PortRange, Protocol, Publish,
    mapper::Reservation,
};

use crate::output::chain;

/// Neighbouring ports of which the same can be said.
pub(crate) struct Verdict {
    host: HostAddr,
    protocol: Protocol,
    ports: PortRange,
    pub(crate) found: Found,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Free,
    /// By somebody who cannot be seen.
    Taken,
    /// Nobody is seen to have it, and this process may not try.
    Privileged,
    /// It cannot be taken, whoever has it.
    Other(String),
}

/// Finds out by taking each port for a moment: nobody listens on it meanwhile.
pub(super) async fn verdicts(
    protocol: Protocol,
    host: HostAddr,
    ports: PortRange,
    holders: &[Holder],
) -> Vec<Verdict> {
    let seen: HashSet<_> = holders.iter().map(|holder| holder.addr().port()).collect();
    let mut verdicts: Vec<Verdict> = Vec::new();
    for port in ports.iter().filter(|port| !seen.contains(&port.number())) {
        let found = match take(protocol, host, port).await {
            Ok(()) => Found::Free,
            Err(error) if error.kind() == ErrorKind::AddrInUse => Found::Taken,
            Err(error) if error.kind() == ErrorKind::Denied => Found::Privileged,
            Err(error) => Found::Other(chain(&error)),
        };
        match verdicts.last_mut() {
            Some(last)
                if last.found == found && last.ports.last().number() + 1 == port.number() =>
            {
                last.ports = PortRange::new(last.ports.first(), port).unwrap_or(last.ports);
            }
            _ => verdicts.push(Verdict { host, protocol, ports: port.into(), found }),
        }
    }
    verdicts
}

/// Takes a port and gives it back.
async fn take(protocol: Protocol, host: HostAddr, port: Port) -> Result<(), Error> {
    let mapping = Mapping::new(protocol, HostPort::Exact(port.into()), port.into())
        .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
    let mapping = match host {
        HostAddr::Any => mapping,
        HostAddr::Ip(addr) => mapping.on(addr),
    };
    // The container's side does not matter: nothing is served.
    Reservation::take(&Publish::new(Ipv4Addr::LOCALHOST).with(mapping)).await.map(drop)
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { host, protocol, ports, found } = self;
        write!(f, "{host}:{ports}/{protocol} ")?;
        match found {
            Found::Free => f.write_str("is free"),
            Found::Taken => f.write_str(
                "is in use by a socket that no table of the kernel lists: bound, and not listening, as rules keep their ports",
            ),
            Found::Privileged => {
                f.write_str("is in nobody's use that can be seen; taking it needs CAP_NET_BIND_SERVICE")
            }
            Found::Other(error) => write!(f, "cannot be taken: {error}"),
        }
    }
}
