//! Taking the host ports of one mapping.

use std::time::Duration;

use tokio::{task, time::sleep};

use super::{
    HostSocket, Reserved, candidates, claim::Claim, conflict::Conflict, socket, socket::Refusal,
};
use crate::{Binding, Endpoint, Error, ErrorKind, HostPort, Mapping, Port, PortRange};

/// How many sockets are opened before other tasks get a turn: about a millisecond's worth.
const SOCKETS_A_TURN: usize = 64;

/// How long a port may have no holder and still be taken, and how often it is tried again. Between fork and exec a child has
/// what its parent had open: where a process starts others, a port that was just released is taken for that long, by
/// nobody who could be seen. A holder that cannot be seen for lack of privilege is
/// waited for as well, 30 ms in all.
const ORPHANED: Duration = Duration::from_millis(10);
const ATTEMPTS_AT_AN_ORPHAN: usize = 3;

/// Takes the first ports that are free on all addresses of the mapping.
pub(super) async fn take(mapping: &Mapping, endpoint: Endpoint) -> Result<Vec<Reserved>, Error> {
    let mut taking = Taking { mapping, endpoint, tried: 0 };
    match mapping.host_port() {
        HostPort::Exact(ports) => taking.exactly(ports.first()).await,
        HostPort::AnyOf(ports) => taking.one_of(ports).await,
        HostPort::Ephemeral => taking.one_of(candidates::ephemeral_ports()?).await,
    }
}

struct Taking<'a> {
    mapping: &'a Mapping,
    endpoint: Endpoint,
    /// How many sockets were opened, or could not be.
    tried: usize,
}

impl Taking<'_> {
    /// Takes the ports from `first` on. One that nobody has who could be seen is waited for.
    async fn exactly(&mut self, first: Port) -> Result<Vec<Reserved>, Error> {
        let protocol = self.mapping.protocol();
        let mut known: Option<Conflict> = None;
        let mut waited = 0;
        loop {
            let refusal = match self.block(first).await {
                Ok(reserved) => return Ok(reserved),
                Err(refusal) if refusal.is_conflict() => refusal,
                Err(refusal) => return Err(refusal.into_error(protocol)),
            };
            let (host, port) = refusal.wanted();
            // Once for each port: it is the one who is found that counts, not who comes while it is waited for.
            let conflict = match known.take().filter(|known| known.is_of(host, port)) {
                Some(known) => known,
                None => Conflict::find(protocol, host, port).await,
            };
            if !conflict.is_by_nobody() || waited == ATTEMPTS_AT_AN_ORPHAN {
                return Err(conflict.into_error());
            }
            waited += 1;
            known = Some(conflict);
            sleep(ORPHANED).await;
        }
    }

    /// Takes the first free ones of the candidates, which are among `ports`.
    async fn one_of(&mut self, ports: PortRange) -> Result<Vec<Reserved>, Error> {
        let protocol = self.mapping.protocol();
        let mut first_refusal = None;
        for first in candidates::of(self.mapping)? {
            match self.block(first).await {
                Ok(reserved) => return Ok(reserved),
                Err(refusal) if refusal.concerns_the_port() => {
                    first_refusal.get_or_insert(refusal);
                }
                Err(refusal) => return Err(refusal.into_error(protocol)),
            }
        }
        let cause = match first_refusal {
            Some(refusal) if refusal.is_conflict() => {
                let (host, port) = refusal.wanted();
                Some(Conflict::find(protocol, host, port).await.into_error())
            }
            Some(refusal) => return Err(refusal.into_error(protocol)),
            None => None,
        };
        let message = match self.mapping.container_ports().len() {
            1 => format!("no port of {ports}/{protocol} is free"),
            n => format!("no {n} neighbouring ports of {ports}/{protocol} are free"),
        };
        let error = Error::new(ErrorKind::AddrInUse, message);
        Err(match cause {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }

    /// Takes the ports from `first` on, on every address of the mapping, or none.
    async fn block(&mut self, first: Port) -> Result<Vec<Reserved>, Refusal> {
        let (protocol, ports) = (self.mapping.protocol(), self.mapping.container_ports());
        let mut taken = Vec::new();
        for host_addr in self.mapping.host() {
            let Some(binding) = Binding::new(protocol, host_addr, first, self.endpoint, ports)
            else {
                continue;
            };
            let mut opened = Vec::with_capacity(ports.len());
            for port in binding.host_ports().iter() {
                self.tried += 1;
                if self.tried.is_multiple_of(SOCKETS_A_TURN) {
                    task::yield_now().await;
                }
                opened.extend(socket::open(protocol, host_addr, port)?);
            }
            // Only now: where a search tries thousands of ports, most are somebody else's.
            let claim = Claim::new(binding.clone());
            let own = |socket| HostSocket::of(socket, &claim);
            taken.push(Reserved { binding, sockets: opened.into_iter().map(own).collect() });
        }
        Ok(taken)
    }
}
