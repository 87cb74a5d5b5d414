//! The thread's side: a socket, and what was made through it.

use std::{borrow::Cow, collections::BTreeSet, io, sync::Arc};

use nix::errno::Errno;
use portmap_rules::{Change, Layout, Ruleset, TableId, Transaction};

use super::{
    NftablesError, NftablesObject, TableOwner,
    batch::{Batch, Part},
    count,
    encode::{Sweep, encode},
    registry::Registry,
    undo::undo,
};
use crate::{
    Difference, OwnerLock,
    netlink::{Ack, Answer, Transport, ask},
};

/// A socket, and what was made through it.
#[derive(Debug)]
pub(super) struct Session {
    socket: Box<dyn Transport>,
    owner: TableOwner,
    /// Whether the kernel has turned out to be older than owned tables.
    unowned: bool,
    registry: Registry,
    /// Tables of which it is not known what is in force.
    in_doubt: BTreeSet<TableId>,
    /// The last thing to go: the name of the tables is free once the socket that owns them is closed.
    lock: Option<Arc<OwnerLock>>,
}

impl Session {
    pub(super) fn new(socket: impl Transport + 'static, owner: TableOwner) -> Self {
        Self {
            socket: Box::new(socket),
            owner,
            unowned: false,
            registry: Registry::default(),
            in_doubt: BTreeSet::new(),
            lock: None,
        }
    }

    /// The same, for who owns the name of its tables by this lock.
    pub(super) fn locked_by(mut self, lock: Arc<OwnerLock>) -> Self {
        self.lock = Some(lock);
        self
    }

    /// On a kernel that knows no owners.
    #[cfg(all(test, feature = "netns"))]
    pub(super) fn before_owners(socket: impl Transport + 'static) -> Self {
        let mut session = Self::new(socket, TableOwner::Socket);
        session.unowned = true;
        session
    }

    /// Whether others can change what it makes.
    pub(super) fn is_exposed(&self) -> bool {
        self.unowned || self.owner == TableOwner::Nobody
    }

    pub(super) fn compare(&self, wanted: &Ruleset) -> Result<Vec<Difference>, NftablesError> {
        count::compare(&*self.socket, wanted).map_err(NftablesError::Transport)
    }

    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<(), NftablesError> {
        self.knowing_owners(|session| session.attempt(transaction))
    }

    /// Makes `rules` of whatever there is of this session's tables.
    pub(super) fn rewrite(&mut self, rules: &Ruleset) -> Result<(), NftablesError> {
        loop {
            let rewritten = self.rewrite_known(rules);
            let Some(table) = rewritten.as_ref().err().and_then(|error| self.disproved(error))
            else {
                return rewritten;
            };
            // One less each time.
            self.in_doubt.remove(&table);
        }
    }

    /// The table that an error says was not made: asked for as owned by this session, the kernel would know it as that.
    /// It is somebody else's, or the kernel knows no owners.
    fn disproved(&self, error: &NftablesError) -> Option<TableId> {
        let NftablesError::Refused { deleting: false, object, source, .. } = error else {
            return None;
        };
        let NftablesObject::Table(table) = &**object else { return None };
        (self.is_unsure_of(table) && lacks_owners(source)).then(|| table.clone())
    }

    /// Whether it is not known whether an owned table was made.
    fn is_unsure_of(&self, table: &TableId) -> bool {
        let may_be = self.owner == TableOwner::Socket && !self.unowned;
        may_be && self.in_doubt.contains(table) && !self.registry.has(table)
    }

    fn rewrite_known(&mut self, rules: &Ruleset) -> Result<(), NftablesError> {
        let stale: BTreeSet<_> = self.registry.tables().chain(&self.in_doubt).cloned().collect();
        let gone = stale.iter().filter(|table| !rules.tables().contains_key(*table));
        // Each table is swept before it is made.
        let gone = gone.flat_map(|table| {
            [Change::AddTable(table.clone()), Change::DeleteTable(table.clone())]
        });
        let fresh = Ruleset::diff(&Ruleset::empty(Layout::Nftables), rules);
        let transaction: Transaction = gone.chain(fresh).collect::<Vec<_>>().into();
        self.knowing_owners(|session| session.attempt_anew(&transaction, &stale))
    }

    /// Does it again without owners, where it fails as the kernel has no owned tables.
    fn knowing_owners(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<(), NftablesError>,
    ) -> Result<(), NftablesError> {
        let applied = attempt(self);
        let Err(NftablesError::Refused { deleting: false, object, source, .. }) = &applied else {
            return applied;
        };
        let NftablesObject::Table(table) = &**object else { return applied };
        if self.owner == TableOwner::Nobody
            || self.unowned
            || self.is_unsure_of(table)
            || !lacks_owners(source)
        {
            return applied;
        }
        tracing::warn!(
            %table,
            "this kernel has no tables that end with their owner (Linux 5.12 has): \
             the rules of a killed process stay until it is started again"
        );
        self.unowned = true;
        attempt(self)
    }

    fn attempt(&mut self, transaction: &Transaction) -> Result<(), NftablesError> {
        let owner = if self.unowned { TableOwner::Nobody } else { self.owner };
        let sweep = |_: &TableId| self.unowned.then_some(Sweep::Any);
        let mut encoded = encode(transaction, &self.registry, owner, sweep)?;
        let parts = encoded.batch.parts(self.socket.limit());
        for (place, part) in parts.iter().enumerate() {
            let Err(error) = commit(&*self.socket, &mut encoded.batch, *part, transaction) else {
                continue;
            };
            let error = match place.checked_sub(1).map(|last| parts[last].end) {
                Some(done) if !error.is_in_doubt() => {
                    self.take_back(transaction, &encoded.batch, done, error)
                }
                _ => error,
            };
            return Err(self.doubting(transaction, error));
        }
        if let Cow::Owned(registry) = encoded.registry {
            self.registry = registry;
        }
        Ok(())
    }

    /// The same for a transaction that makes everything there is, and sweeps these tables before.
    fn attempt_anew(
        &mut self,
        transaction: &Transaction,
        stale: &BTreeSet<TableId>,
    ) -> Result<(), NftablesError> {
        let owner = if self.unowned { TableOwner::Nobody } else { self.owner };
        let nothing = Registry::default();
        let sweep = |table: &TableId| match () {
            () if self.is_unsure_of(table) => Some(Sweep::Owned),
            () if self.unowned || stale.contains(table) => Some(Sweep::Any),
            () => None,
        };
        let mut encoded = encode(transaction, &nothing, owner, sweep)?;
        let parts = encoded.batch.parts(self.socket.limit());
        for (place, part) in parts.iter().enumerate() {
            let done = commit(&*self.socket, &mut encoded.batch, *part, transaction);
            let Err(error) = done else { continue };
            let error = match place {
                0 => error,
                _ => NftablesError::Partial { source: Box::new(error) },
            };
            return Err(self.doubting(transaction, error));
        }
        self.registry = encoded.registry.into_owned();
        self.in_doubt.clear();
        Ok(())
    }

    /// Takes note of what an error leaves open.
    fn doubting(&mut self, transaction: &Transaction, error: NftablesError) -> NftablesError {
        if error.is_in_doubt() {
            self.in_doubt.extend(transaction.changes().iter().map(Change::table).cloned());
        }
        error
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
            let Ok(mut encoded) = encode(&inverse, &registry, self.owner, |_| None) else {
                return false;
            };
            let parts = encoded.batch.parts(self.socket.limit());
            parts
                .into_iter()
                .all(|part| commit(&*self.socket, &mut encoded.batch, part, &inverse).is_ok())
        });
        if undone { error } else { NftablesError::Partial { source: Box::new(error) } }
    }
}

impl Drop for Session {
    /// The kernel would do it when the last copy of the socket closes: but a child between fork and exec has one too,
    /// and a successor would find the table still there.
    fn drop(&mut self) {
        let is_empty = self.registry.tables().next().is_none() && self.in_doubt.is_empty();
        if self.owner == TableOwner::Nobody || is_empty {
            return;
        }
        let delete = |table: &TableId| Change::DeleteTable(table.clone());
        let deleted = if self.in_doubt.is_empty() {
            let deletions: Vec<Change> = self.registry.tables().map(delete).collect();
            self.attempt(&deletions.into())
        } else {
            self.rewrite(&Ruleset::empty(Layout::Nftables))
        };
        if let Err(error) = deleted {
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
    socket: &dyn Transport,
    batch: &mut Batch,
    part: Part,
    transaction: &Transaction,
) -> Result<(), NftablesError> {
    let request = batch.request(part);
    let last = (part.end - 1) as u32;
    let answer = ask(socket, &request, last, |_| ()).map_err(NftablesError::Transport)?;
    let Answer { errors, lost } = answer;
    match (errors.into_iter().next(), lost) {
        // One error is enough for the kernel to do nothing, whatever else it had to say.
        (Some(ack), _) => Err(refused(ack, batch, transaction)),
        (None, Some(lost)) => Err(NftablesError::Unanswered(lost)),
        (None, None) => Ok(()),
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
    use portmap_core::{Port, Protocol};
    use portmap_rules::{Chain, Field, Name, Purpose, Rule, Set, TableFamily, Target, Value};

    use super::*;
    use crate::netlink::{
        Socket,
        lossy::{Fate, Fates, Lossy, in_namespace},
    };

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

    /// Whether or not the kernel took what it did not answer, and whether it comes as one request or several.
    #[test]
    fn what_was_not_answered_is_settled_by_writing_the_table_anew() {
        for fate in [Fate::Unheard, Fate::Vanished] {
            for limit in [usize::MAX, 100_000] {
                in_namespace(move || {
                    let fates = Fates::default();
                    let socket = Socket::open().expect("there is netfilter").limited_to(limit);
                    let mut session = Session::new(Lossy::new(socket, &fates), TableOwner::Socket);
                    let nothing = Ruleset::empty(Layout::Nftables);
                    let some = nothing.clone().apply(&changes(10, "called"));
                    let many = nothing.clone().apply(&changes(20_000, "called"));
                    session.apply(&changes(10, "called")).expect("it is taken");
                    let more = Ruleset::diff(&some, &many);
                    fates.are([fate]);
                    let error = session.apply(&more).expect_err("it is not answered");
                    assert!(error.is_in_doubt(), "{error:?}");
                    // Back to what was, on to what was wanted, and to nothing at all.
                    session.rewrite(&some).expect("it is taken");
                    session.apply(&more).expect("it is as before");
                    session.rewrite(&many).expect("it is taken");
                    session.apply(&Ruleset::diff(&many, &some)).expect("it is as wanted");
                    session.rewrite(&nothing).expect("it is taken");
                    session.apply(&changes(1, "called")).expect("nothing is left");
                });
            }
        }
    }

    #[test]
    fn a_table_of_somebody_else_is_not_taken_for_one_that_was_not_answered() {
        let empty = || Ruleset::empty(Layout::Nftables);
        for rules in [empty(), empty().apply(&changes(1, "called"))] {
            in_namespace(move || {
                let open = || Socket::open().expect("there is netfilter");
                let mut other = Session::new(open(), TableOwner::Nobody);
                let theirs = empty().apply(&changes(10, "called"));
                other.apply(&changes(10, "called")).expect("it is taken");
                let fates = Fates::default();
                let mut session = Session::new(Lossy::new(open(), &fates), TableOwner::Socket);
                // Neither was there anything of it, nor does the kernel lack owners.
                fates.are([Fate::Vanished]);
                session.apply(&changes(1, "called")).expect_err("it is not answered");
                let rewritten = session.rewrite(&rules);
                assert_eq!(rewritten.is_err(), !rules.is_empty(), "{rewritten:?}");
                assert!(!session.is_exposed());
                drop(session);
                assert_eq!(other.compare(&theirs).expect("it is listed"), []);
            });
        }
    }

    #[test]
    fn a_table_of_which_nothing_is_known_goes_with_its_session() {
        for fate in [Fate::Unheard, Fate::Vanished] {
            in_namespace(move || {
                let fates = Fates::default();
                let socket = Socket::open().expect("there is netfilter");
                let mut session = Session::new(Lossy::new(socket, &fates), TableOwner::Socket);
                fates.are([fate]);
                session.apply(&changes(1, "called")).expect_err("it is not answered");
                drop(session);
                let socket = Socket::open().expect("there is netfilter");
                let mut next = Session::new(socket, TableOwner::Nobody);
                next.apply(&changes(1, "called")).expect("nothing is left");
            });
        }
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
