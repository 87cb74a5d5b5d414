//! The thread's side: a socket, and what was made through it.

use std::{borrow::Cow, io};

use nix::errno::Errno;

use super::{
    NftablesError, Object, TableOwner,
    batch::{Batch, Part},
    encode::encode,
    registry::Registry,
    undo::undo,
};
use crate::{
    Transaction,
    backend::netlink::{Ack, Reply, Socket, replies},
};

/// A socket, and what was made through it.
#[derive(Debug)]
pub(super) struct Session {
    socket: Socket,
    owner: TableOwner,
    /// Whether the kernel has turned out to be older than owned tables.
    unowned: bool,
    registry: Registry,
}

impl Session {
    pub(super) fn new(socket: Socket, owner: TableOwner) -> Self {
        Self { socket, owner, unowned: false, registry: Registry::default() }
    }

    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<(), NftablesError> {
        let applied = self.attempt(transaction);
        let Err(NftablesError::Refused { object, source, .. }) = &applied else { return applied };
        let Object::Table(table) = &**object else { return applied };
        if self.owner == TableOwner::Nobody || self.unowned || !lacks_owners(source) {
            return applied;
        }
        tracing::warn!(
            %table,
            "this kernel has no tables that end with their owner (Linux 5.12 has): \
             the rules of a killed process stay until it is started again"
        );
        self.unowned = true;
        self.attempt(transaction)
    }

    fn attempt(&mut self, transaction: &Transaction) -> Result<(), NftablesError> {
        let owner = if self.unowned { TableOwner::Nobody } else { self.owner };
        let mut encoded = encode(transaction, &self.registry, owner, self.unowned)?;
        let parts = encoded.batch.parts(self.socket.limit());
        for (place, part) in parts.iter().enumerate() {
            let Err(error) = commit(&self.socket, &mut encoded.batch, *part, transaction) else {
                continue;
            };
            return Err(match place.checked_sub(1).map(|last| parts[last].end) {
                None => error,
                Some(done) => self.take_back(transaction, &encoded.batch, done, error),
            });
        }
        if let Cow::Owned(registry) = encoded.registry {
            self.registry = registry;
        }
        Ok(())
    }

    /// Undoes the first `done` messages of a transaction of which a later one failed.
    fn take_back(
        &self,
        transaction: &Transaction,
        batch: &Batch,
        done: usize,
        error: NftablesError,
    ) -> NftablesError {
        let undone = undo(transaction, batch, done).is_some_and(|inverse| {
            let mut registry = self.registry.clone();
            transaction.changes().iter().for_each(|change| registry.note(change));
            let Ok(mut encoded) = encode(&inverse, &registry, self.owner, false) else {
                return false;
            };
            let parts = encoded.batch.parts(self.socket.limit());
            parts
                .into_iter()
                .all(|part| commit(&self.socket, &mut encoded.batch, part, &inverse).is_ok())
        });
        if undone { error } else { NftablesError::Partial { source: Box::new(error) } }
    }
}

/// Old kernels don't know the flag, newer ones may be built without what it needs.
fn lacks_owners(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EINVAL | Errno::EOPNOTSUPP))
}

/// Sends one part, and reads what became of it.
fn commit(
    socket: &Socket,
    batch: &mut Batch,
    part: Part,
    transaction: &Transaction,
) -> Result<(), NftablesError> {
    let request = batch.request(part);
    // Answers to what was given up half-way would be taken for this one's.
    while socket.receive().map_err(NftablesError::Transport)?.is_some() {}
    socket.send(&request).map_err(NftablesError::Transport)?;
    let mut done = false;
    let mut first = None;
    while let Some(datagram) = socket.receive().map_err(NftablesError::Transport)? {
        for reply in replies(&datagram) {
            let Reply::Ack(ack) = reply else { continue };
            if ack.error.is_some() {
                first.get_or_insert(ack);
            } else {
                done |= ack.sequence as usize == part.end - 1;
            }
        }
    }
    match first {
        Some(ack) => Err(refused(ack, batch, transaction)),
        None if done => Ok(()),
        None => Err(NftablesError::Transport(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn refused(ack: Ack, batch: &Batch, transaction: &Transaction) -> NftablesError {
    let Some(source) = ack.error else { return NftablesError::Closed };
    let origin = batch.origin(ack.sequence as usize);
    let change =
        origin.and_then(|origin| Some((origin, transaction.changes().get(origin.change)?)));
    let (deleting, object) = match change {
        Some((origin, change)) => (origin.deletes(change), origin.object(change, ack.offset)),
        None => (false, Object::Transaction),
    };
    NftablesError::Refused { deleting, object: Box::new(object), hint: ack.hint, source }
}

#[cfg(all(test, feature = "netns"))]
mod tests {
    use std::thread;

    use nix::sched::{CloneFlags, unshare};
    use portmap_core::{Port, Protocol};

    use super::*;
    use crate::{Change, Field, Name, Purpose, Rule, Set, TableFamily, TableId, Target, Value};

    #[test]
    fn a_transaction_in_several_parts_is_all_or_nothing() {
        let body = || {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                eprintln!("skipped: no network namespace: {error}");
                return;
            }
            let socket = Socket::open().unwrap().limited_to(100_000);
            let mut session = Session::new(socket, TableOwner::Socket);
            session.apply(&changes(&[], "called")).unwrap();
            session.apply(&vec![Change::DeleteTable(table())].into()).unwrap();
            for _ in 0..2 {
                // It fails in the last part: nothing may be left of the others.
                let error = session.apply(&changes(&ports(1..=20_000), "nowhere")).unwrap_err();
                let NftablesError::Refused { object, .. } = error else { panic!("{error:?}") };
                assert!(matches!(*object, Object::Rule { place: 0, .. }), "{object}");
            }
            session.apply(&changes(&ports(1..=20_000), "called")).unwrap();
        };
        thread::spawn(body).join().unwrap();
    }

    fn table() -> TableId {
        TableId { family: TableFamily::Inet, name: "portmap".into() }
    }

    fn ports(numbers: std::ops::RangeInclusive<u16>) -> Vec<Port> {
        numbers.map(|number| Port::try_from(number).expect("it is not 0")).collect()
    }

    fn changes(ports: &[Port], calls: &'static str) -> Transaction {
        let (set, chain, called) = (Name::from("ports"), Name::from("chain"), Name::from("called"));
        let rule =
            Rule { matches: vec![], target: Target::Jump(calls.into()), purpose: Purpose::Next };
        let elements = ports
            .iter()
            .map(|port| (vec![Value::Protocol(Protocol::Tcp), Value::Ports((*port).into())], None))
            .collect();
        let chain_of =
            |name| Change::AddChain { table: table(), name, chain: crate::Chain::regular() };
        vec![
            Change::AddTable(table()),
            Change::AddSet {
                table: table(),
                name: set.clone(),
                set: Set::new(vec![Field::Protocol, Field::DestinationPort]),
            },
            chain_of(chain.clone()),
            chain_of(called),
            Change::AddElements { table: table(), set, elements },
            Change::WriteChain { table: table(), chain, rules: vec![rule] },
        ]
        .into()
    }
}
