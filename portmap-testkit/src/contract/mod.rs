//! What every [`PortMapper`] has to do, each promise a test.
//!
//! A [`Contract`] adds a test to a [`Suite`] for every clause. Each runs in a [`Site`] of its own, with
//! a mapper of its own that is made on the site's host.
//!
//! ```no_run
//! use portmap_testkit::{Suite, contract::Contract};
//! # use portmap_core::{Error, Lease, PortMapper, Publish};
//! # struct Mine;
//! # impl PortMapper for Mine {
//! #     async fn publish(&self, _: Publish) -> Result<Lease, Error> { unimplemented!() }
//! # }
//!
//! let mut suite = Suite::from_args();
//! Contract::new("mine", |_site| async { Ok(Mine) }).without_udp().tests(&mut suite);
//! suite.run();
//! ```
//!
//! The clauses are those of the trait's documentation. What a mapper cannot do is declared
//! ([`Contract::without_udp`] and its kin), and then held to the other half of the promise: that it says so, or refuses at
//! once.

mod cancelling;
mod conflicts;
mod numbers;
mod publishing;
mod releasing;
mod retargeting;
mod sharing;
mod trial;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::{FutureExt, ready};
use futures::stream::{self, StreamExt};
use portmap_core::PortMapper;

use crate::error::BoxError;
use crate::need::Need;
use crate::site::{Setup, Site};
use crate::suite::{Suite, TestResult};
use trial::Trial;

/// How many clauses [`Contract::broken`] tries at the same time: they wait more than they work.
const AT_A_TIME: usize = 6;

/// A mapper, and what it declares not to do.
pub struct Contract {
    name: String,
    setup: Arc<Setup>,
    abilities: Abilities,
    needs: Vec<Need>,
    only: Option<&'static [&'static str]>,
}

/// What a mapper can do.
#[derive(Clone, Copy, Debug)]
struct Abilities {
    udp: bool,
    loopback4: bool,
    loopback6: bool,
    retarget: bool,
}

/// A promise: its name, and how to test it.
struct Clause {
    name: &'static str,
    body: Body,
}

type Body = for<'a> fn(&'a Trial) -> Pin<Box<dyn Future<Output = TestResult> + 'a>>;

impl Contract {
    /// The contract for a mapper that can do everything. The function makes one, and runs on the host
    /// of a [`Site`]: what it opens is in the host's namespace.
    pub fn new<F, Fut, M>(name: impl Into<String>, mapper: F) -> Self
    where
        F: Fn(Arc<Site>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M, BoxError>> + Send + 'static,
        M: PortMapper,
    {
        Self {
            name: name.into(),
            setup: Arc::new(Setup::new(mapper)),
            abilities: Abilities { udp: true, loopback4: true, loopback6: true, retarget: true },
            needs: vec![Need::Netns],
            only: None,
        }
    }

    /// It publishes no UDP ports. Asked to, it is [`Unsupported`](portmap_core::ErrorKind::Unsupported).
    #[must_use]
    pub fn without_udp(mut self) -> Self {
        self.abilities.udp = false;
        self
    }

    /// It does not serve the host's own connections to 127.0.0.0/8 and ::1: they are refused.
    #[must_use]
    pub fn without_loopback(mut self) -> Self {
        self.abilities.loopback4 = false;
        self.without_ipv6_loopback()
    }

    /// It does not serve the host's own connections to ::1: they are refused.
    #[must_use]
    pub fn without_ipv6_loopback(mut self) -> Self {
        self.abilities.loopback6 = false;
        self
    }

    /// It leads no lease to another container. Asked to, it is [`Unsupported`](portmap_core::ErrorKind::Unsupported).
    #[must_use]
    pub fn without_retarget(mut self) -> Self {
        self.abilities.retarget = false;
        self
    }

    /// It needs something of the machine, beside network namespaces.
    #[must_use]
    pub fn need(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Leaves all clauses out but these.
    #[must_use]
    pub fn only(mut self, clauses: &'static [&'static str]) -> Self {
        self.only = Some(clauses);
        self
    }

    /// Adds a test for each clause to a suite, named `contract::MAPPER::CLAUSE`.
    pub fn tests(self, suite: &mut Suite) {
        for Clause { name, body } in self.clauses() {
            let (setup, abilities) = (Arc::clone(&self.setup), self.abilities);
            let name = format!("contract::{}::{name}", self.name);
            suite.test(&name, &self.needs, async move || keep(&setup, abilities, *body).await);
        }
    }

    /// Tries every clause, a few at a time, and returns those that the mapper breaks, each with how. For a process in a
    /// sandbox: see [`enter`](crate::enter).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing.
    pub async fn broken(self) -> Vec<(&'static str, BoxError)> {
        let tried = self.clauses().map(async |Clause { name, body }| {
            let kept = AssertUnwindSafe(keep(&self.setup, self.abilities, *body)).catch_unwind();
            let error = match kept.await {
                Ok(kept) => kept.err()?,
                Err(panic) => match panic.downcast::<String>() {
                    Ok(message) => (*message).into(),
                    Err(_) => "an assertion failed".into(),
                },
            };
            Some((*name, error))
        });
        stream::iter(tried).buffered(AT_A_TIME).filter_map(ready).collect().await
    }
}

impl Contract {
    fn clauses(&self) -> impl Iterator<Item = &'static Clause> + use<> {
        let only = self.only;
        let wanted = move |name| only.is_none_or(|only| only.contains(name));
        self.abilities.clauses().filter(move |clause| wanted(&clause.name))
    }
}

impl Abilities {
    fn clauses(self) -> impl Iterator<Item = &'static Clause> {
        let always = [
            publishing::CLAUSES,
            conflicts::CLAUSES,
            numbers::CLAUSES,
            sharing::CLAUSES,
            releasing::CLAUSES,
            cancelling::CLAUSES,
        ];
        let by_udp = if self.udp { releasing::WITH_UDP } else { publishing::WITHOUT_UDP };
        let by_target =
            if self.retarget { retargeting::CLAUSES } else { retargeting::WITHOUT_RETARGET };
        always.into_iter().chain([by_udp, by_target]).flatten()
    }
}

async fn keep(setup: &Setup, abilities: Abilities, body: Body) -> TestResult {
    let trial = Trial::new(setup, abilities).await?;
    body(&trial).await?;
    trial.end().await
}

impl fmt::Debug for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("name", &self.name)
            .field("abilities", &self.abilities)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// Clauses of async functions that take a [`Trial`].
macro_rules! clauses {
    ($clauses:ident: $($name:ident),+ $(,)?) => {
        pub(super) const $clauses: &[crate::contract::Clause] = &[$(crate::contract::Clause {
            name: stringify!($name),
            body: |trial| Box::pin($name(trial)),
        }),+];
    };
}
use clauses;
