//! The embedder's side.

use std::{collections::BTreeMap, sync::Arc};

use portmap_rules::{Entrance, Family, Layout, Ruleset};
use tokio::runtime::Handle;

use super::{Difference, IptablesError, IptablesTools, IptablesVariant, session::Session};
use crate::{DriftWatch, Worker, authors::Authors};

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

    /// Whose changes [`watch`](Self::watch) takes for its own.
    pub(crate) fn authors(&self) -> Authors {
        self.authors.clone()
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

    /// Sees to it that `wanted` is in force and nothing else of `before`, of which the first one is in force, or was when
    /// anybody last looked; the others may be, in part. Says what differed. Where that fails, the first one is put back.
    ///
    /// # Errors
    /// [`IptablesError`].
    ///
    /// # Cancel safety
    /// Once polled, it is done whether or not anybody waits for it.
    pub(crate) async fn enforce(
        &self,
        before: Vec<Arc<Ruleset>>,
        wanted: Arc<Ruleset>,
    ) -> Result<Vec<Difference>, IptablesError> {
        let job = move |session: &mut Session| session.enforce(&borrowed(&before), &wanted);
        self.worker.run(job).await.unwrap_or(Err(IptablesError::Closed))
    }

    /// Which chain a passage is entered from in each of these families, as things are.
    ///
    /// # Errors
    /// [`IptablesError`].
    pub(crate) async fn entrances(
        &self,
        families: Vec<Family>,
    ) -> Result<BTreeMap<Family, Entrance>, IptablesError> {
        let job = move |session: &mut Session| session.entrances(&families);
        self.worker.run(job).await.unwrap_or(Err(IptablesError::Closed))
    }

    /// Withdraws what is there of `rules`, of which the first one is in force and the others may be, and blocks the calling
    /// thread meanwhile: for an end at which nothing can be awaited any more. What was begun before is ended first.
    pub(crate) fn withdraw(self, rules: Vec<Arc<Ruleset>>) {
        self.worker.join_after(move |session| {
            let nothing = Ruleset::empty(Layout::Iptables);
            let withdrawn = match &rules[..] {
                [rules] => session.replace(rules, &nothing),
                _ => session.enforce(&borrowed(&rules), &nothing).map(drop),
            };
            if let Err(error) = withdrawn {
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

fn borrowed(rules: &[Arc<Ruleset>]) -> Vec<&Ruleset> {
    rules.iter().map(Arc::as_ref).collect()
}
