//! The thread's side: a socket, and what was made through it.

use std::{borrow::Cow, io};

use nix::errno::Errno;

use super::{
    NftablesError, NftablesObject, TableOwner,
    batch::{Batch, Part},
    count,
    encode::encode,
    registry::Registry,
    undo::undo,
};
use crate::{
    Change, Difference, Ruleset, TableId, Transaction,
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

    /// On a kernel that knows no owners.
    #[cfg(all(test, feature = "netns"))]
    pub(super) fn before_owners(socket: Socket) -> Self {
        let mut session = Self::new(socket, TableOwner::Socket);
        session.unowned = true;
        session
    }

    /// Whether others can change what it makes.
    pub(super) fn is_exposed(&self) -> bool {
        self.unowned || self.owner == TableOwner::Nobody
    }

    pub(super) fn compare(&self, wanted: &Ruleset) -> Result<Vec<Difference>, NftablesError> {
        count::compare(&self.socket, wanted).map_err(NftablesError::Transport)
    }

    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<(), NftablesError> {
        let applied = self.attempt(transaction);
        let Err(NftablesError::Refused { deleting: false, object, source, .. }) = &applied else {
            return applied;
        };
        let NftablesObject::Table(table) = &**object else { return applied };
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
            let added = |change: &&Change| matches!(change, Change::AddSet { .. });
            transaction.changes().iter().filter(added).for_each(|change| registry.note(change));
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

impl Drop for Session {
    /// The kernel would do it when the last copy of the socket closes: but a child between fork and exec has one too,
    /// and a successor would find the table still there.
    fn drop(&mut self) {
        let delete = |table: &TableId| Change::DeleteTable(table.clone());
        let deletions: Vec<Change> = self.registry.tables().map(delete).collect();
        if self.owner == TableOwner::Nobody || deletions.is_empty() {
            return;
        }
        if let Err(error) = self.attempt(&deletions.into()) {
            tracing::debug!(%error, "a table is left to the kernel to remove");
        }
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
        None => (false, NftablesObject::Transaction),
    };
    NftablesError::Refused { deleting, object: Box::new(object), hint: ack.hint, source }
}

#[cfg(all(test, feature = "netns"))]
mod tests {
    use std::thread;

    use nix::sched::{CloneFlags, unshare};
    use portmap_core::{Port, Protocol};

    use super::*;
    use crate::{Chain, Field, Name, Purpose, Rule, Set, TableFamily, Target, Value};

    #[test]
    fn a_transaction_in_several_parts_is_all_or_nothing() {
        in_namespace(|| {
            let socket = Socket::open().expect("there is netfilter").limited_to(100_000);
            let mut session = Session::new(socket, TableOwner::Socket);
            let delete = || vec![Change::DeleteTable(table())].into();
            session.apply(&changes(0, "called")).expect("it is taken");
            session.apply(&delete()).expect("it is taken");
            for _ in 0..2 {
                // It fails in the last part: nothing may be left of the others.
                let error = session.apply(&changes(20_000, "nowhere")).expect_err("no such chain");
                let NftablesError::Refused { object, .. } = error else { panic!("{error:?}") };
                assert!(matches!(*object, NftablesObject::Rule { place: 0, .. }), "{object}");
            }
            session.apply(&changes(20_000, "called")).expect("it is taken");
        });
    }

    #[test]
    fn without_owners_a_killed_processs_table_is_swept() {
        in_namespace(|| {
            let session = || {
                let socket = Socket::open().expect("there is netfilter");
                let mut session = Session::new(socket, TableOwner::Socket);
                session.unowned = true;
                session
            };
            let mut killed = session();
            killed.apply(&changes(10, "called")).expect("it is taken");
            std::mem::forget(killed);
            let mut next = session();
            next.apply(&changes(5, "called")).expect("what was left is no hindrance");
            let nobodys =
                Session::new(Socket::open().expect("there is netfilter"), TableOwner::Nobody)
                    .apply(&changes(0, "called"));
            assert!(matches!(nobodys, Err(NftablesError::Refused { .. })), "it is there");
        });
    }

    fn in_namespace(body: impl FnOnce() + Send + 'static) {
        let body = || match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => body(),
            Err(error) => {
                eprintln!("skipped: no network namespace: {error}");
                let required = std::env::var("PORTMAP_REQUIRE").unwrap_or_default();
                assert!(!required.split(',').any(|word| word == "netns"), "it is required");
            }
        };
        thread::spawn(body).join().expect("the test passes");
    }

    fn table() -> TableId {
        TableId { family: TableFamily::Inet, name: "portmap".into() }
    }

    /// A table with a set of so many ports, and a chain that calls another one.
    fn changes(ports: u16, calls: &'static str) -> Transaction {
        let (set, chain) = (Name::from("ports"), Name::from("chain"));
        let target = Target::Jump(calls.into());
        let rule = Rule { matches: vec![], target, purpose: Purpose::Next };
        let element = |number| {
            let port = Port::try_from(number).expect("it is not 0");
            (vec![Value::Protocol(Protocol::Tcp), Value::Ports(port.into())], None)
        };
        let add_chain = |name| Change::AddChain { table: table(), name, chain: Chain::regular() };
        vec![
            Change::AddTable(table()),
            Change::AddSet {
                table: table(),
                name: set.clone(),
                set: Set::new(vec![Field::Protocol, Field::DestinationPort]),
            },
            add_chain(chain.clone()),
            add_chain("called".into()),
            Change::AddElements {
                table: table(),
                set,
                elements: (1..=ports).map(element).collect(),
            },
            Change::WriteChain { table: table(), chain, rules: vec![rule] },
        ]
        .into()
    }
}
