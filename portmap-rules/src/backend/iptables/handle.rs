//! The embedder's side.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Difference, IptablesError, IptablesTools, IptablesVariant, session::Session};
use crate::{
    Ruleset,
    backend::{DriftWatch, Worker, authors::Authors},
};

/// iptables in one network namespace.
///
/// A thread of its own runs the tools and waits for them, in the namespace in which it was started. What is in force
/// stays when this is dropped: iptables knows no owners.
#[derive(Debug)]
pub struct Iptables {
    worker: Worker<Session>,
    authors: Authors,
    variant: IptablesVariant,
}

impl Iptables {
    /// Starts the thread, in the network namespace of the calling one.
    ///
    /// # Errors
    /// [`IptablesError::Closed`] where the system has no thread left.
    pub fn open(tools: IptablesTools) -> Result<Self, IptablesError> {
        let variant = tools.variant();
        let authors = Authors::default();
        let worker = Worker::spawn("portmap-ipt", Session::new(tools, authors.clone()));
        Ok(Self { worker: worker.map_err(|_| IptablesError::Closed)?, authors, variant })
    }

    /// The variant that the tools are of.
    pub const fn variant(&self) -> IptablesVariant {
        self.variant
    }

    /// Makes of `old`, which is in force, `new`: one run of `iptables-restore` a family, one commit a table.
    ///
    /// Where that is refused, what is in force is read, and all that differs from `new` is put right: somebody may
    /// have flushed a chain, or deleted a jump. Where that fails as well, everything is put back as in `old`. An empty
    /// `old` is never taken at its word: a killed process leaves its rules.
    ///
    /// In a user namespace iptables-nft takes a commit of some 250 rules at most. There a longer one becomes several,
    /// between which a chain has a part of its rules.
    ///
    /// # Errors
    /// [`IptablesError`]; the line that was refused is named.
    ///
    /// # Cancel safety
    /// Once polled, it is done whether or not anybody waits for it.
    pub async fn replace(&self, old: Arc<Ruleset>, new: Arc<Ruleset>) -> Result<(), IptablesError> {
        let job = move |session: &mut Session| session.replace(&old, &new);
        self.worker.run(job).await.unwrap_or(Err(IptablesError::Closed))
    }

    /// Withdraws `rules`, which are in force, and blocks the calling thread meanwhile: for an end at which nothing can be
    /// awaited any more.
    pub(crate) fn withdraw(self, rules: Arc<Ruleset>) {
        self.worker.join_after(move |session| {
            let nothing = Ruleset::empty(rules.layout());
            if let Err(error) = session.replace(&rules, &nothing) {
                tracing::warn!(%error, "the rules stay");
            }
        });
    }

    /// How what is in force differs from `wanted`; empty where it doesn't.
    ///
    /// # Errors
    /// [`IptablesError`].
    pub async fn compare(&self, wanted: Arc<Ruleset>) -> Result<Vec<Difference>, IptablesError> {
        let job = move |session: &mut Session| session.compare(&wanted, &[]);
        self.worker.run(job).await.unwrap_or(Err(IptablesError::Closed))
    }

    /// Puts right what differs from `wanted`, and says what it was.
    ///
    /// Own chains are rewritten; rules in shared chains are put first, and each is there once; a person's chain is made
    /// where it is missing. Nothing else is touched.
    ///
    /// # Errors
    /// [`IptablesError`].
    ///
    /// # Cancel safety
    /// Once polled, it is done whether or not anybody waits for it.
    pub async fn reconcile(&self, wanted: Arc<Ruleset>) -> Result<Vec<Difference>, IptablesError> {
        let job = move |session: &mut Session| session.reconcile(&wanted, &[]);
        self.worker.run(job).await.unwrap_or(Err(IptablesError::Closed))
    }

    /// Watches for changes by others, in the same network namespace. [`IptablesVariant::Legacy`] tells of none, its own
    /// or other people's: there only [`compare`](Self::compare) finds them.
    ///
    /// # Errors
    /// [`IptablesError::Watch`], [`IptablesError::Closed`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn watch(&self) -> Result<DriftWatch, IptablesError> {
        let (runtime, own) = (Handle::current(), self.authors.clone());
        let open = move |_: &mut Session| {
            let _entered = runtime.enter();
            DriftWatch::beside(own)
        };
        let watch = self.worker.run(open).await.ok_or(IptablesError::Closed)?;
        watch.map_err(IptablesError::Watch)
    }
}
