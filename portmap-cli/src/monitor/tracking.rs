//! Tells of what NAT serves, as `connections` and `sessions` do of what the proxy serves: connection tracking is looked at
//! about once a second, and compared with the last look.

mod last;
mod look;

use std::time::{Duration, Instant};

use portmap::{
    Binding,
    rules::{Conntrack, ConntrackError},
};
use tokio::time::{sleep, timeout};

use self::{last::Last, look::Look};
use super::{Monitor, watched::anybody_looks};
use crate::output::chain;

/// From look to look.
const PAUSE: Duration = Duration::from_secs(1);

/// How much longer than a look the pause is at least: a table that takes long is looked at less often, and a tenth of a core is
/// what it may cost.
const SHARE: u32 = 9;

/// How many connections are followed, the newest ones: each takes half a kilobyte here and in a view. The others are counted.
pub(super) const MOST: usize = 4096;

/// How long the beginning and the release wait for a look of their own, and a look for the printer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is looked at, and what was seen.
pub(crate) struct Tracking<'a> {
    monitor: &'a Monitor,
    conntrack: Option<Conntrack>,
    /// What was in force at the last look.
    in_force: Vec<Binding>,
    /// That, and what was in force before and still has connections.
    asked: Vec<Binding>,
    last: Last,
}

impl<'a> Tracking<'a> {
    /// Notices what is over by now, which is not to be told. To be called before what is in force is told.
    pub(crate) async fn begin(monitor: &'a Monitor, bindings: &[Binding]) -> Self {
        let (in_force, asked) = (bindings.to_vec(), bindings.to_vec());
        let mut tracking =
            Self { monitor, conntrack: None, in_force, asked, last: Last::default() };
        if anybody_looks()
            // Where it fails, the first look does.
            && let Ok(Ok(look)) = timeout(PATIENCE, tracking.list()).await
        {
            tracking.last.skip(look);
        }
        tracking
    }

    /// Looks for as long as anybody reads what is told. Cancel safety: what a look that is given up would have seen, the next one
    /// sees.
    pub(crate) async fn run(&mut self) {
        let mut said = String::new();
        while anybody_looks() {
            let begun = Instant::now();
            let wrong = self.look().await.err().map(|error| chain(&error)).unwrap_or_default();
            if wrong != said && !wrong.is_empty() {
                self.monitor.note(format_args!("what NAT serves cannot be listed: {wrong}"));
            }
            said = wrong;
            sleep(PAUSE.max(begun.elapsed() * SHARE)).await;
        }
    }

    /// Tells what has become of everything, and that it is not looked at any more.
    pub(crate) async fn finish(mut self) {
        if anybody_looks() {
            // Nothing depends on it.
            let _ = timeout(PATIENCE, self.look()).await;
        }
        self.last.leave(self.monitor);
    }

    async fn look(&mut self) -> Result<(), ConntrackError> {
        let in_force = self.monitor.in_force();
        // Old connections go on to where a port led before: also those that came since the last look.
        let ends = self.last.ends();
        self.asked.retain(|binding| {
            let has_flows = || binding.endpoint().addrs().any(|addr| ends.contains(&addr));
            !in_force.contains(binding) && (self.in_force.contains(binding) || has_flows())
        });
        self.asked.extend(in_force.iter().cloned());
        self.in_force = in_force;
        let look = self.list().await?;
        // On the program's first thread, which serves nobody: a long list holds up no connection.
        self.last.compare(look, self.monitor);
        Ok(())
    }

    async fn list(&mut self) -> Result<Look, ConntrackError> {
        let conntrack = match &mut self.conntrack {
            Some(conntrack) => conntrack,
            none => none.insert(Conntrack::open()?),
        };
        let look = Look::new(self.last.before());
        let listed = conntrack.fold_flows(&self.asked, look, Look::take).await;
        if listed.is_err() {
            self.conntrack = None;
        }
        listed
    }
}
