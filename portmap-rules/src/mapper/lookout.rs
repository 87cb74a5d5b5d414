//! When to look whether somebody else has changed the rules.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::{DriftWatch, Iptables, IptablesVariant};

/// Changes come in bursts, a tool's commit a table: a look a burst will do. All is put right within a second.
const BURST: Duration = Duration::from_millis(300);
/// How often to look where nothing tells of changes.
const PERIOD: Duration = Duration::from_millis(800);
/// Somebody who puts back each time what we put right is a program like us: after so many times in a row we take longer
/// and longer, up to the longest, instead of fighting.
const PROMPT: u32 = 4;
const LONGEST: Duration = Duration::from_secs(60);

/// Tells when to look.
#[derive(Debug)]
pub(super) struct Lookout {
    signs: Signs,
    due: Option<Instant>,
    /// How many times in a row something had to be put right, and when last.
    repairs: u32,
    repaired: Option<Instant>,
}

#[derive(Debug)]
enum Signs {
    /// None: nobody else can change the rules.
    Never,
    /// A notice of each change.
    Told(DriftWatch),
    /// None, though there are changes.
    Untold,
}

impl Lookout {
    const fn new(signs: Signs) -> Self {
        Self { signs, due: None, repairs: 0, repaired: None }
    }

    /// For rules that nobody else can change.
    pub(super) const fn of_nothing() -> Self {
        Self::new(Signs::Never)
    }

    /// For rules of iptables.
    pub(super) async fn of_iptables(iptables: &Iptables) -> Self {
        if iptables.variant() == IptablesVariant::Legacy {
            return Self::new(Signs::Untold);
        }
        Self::new(match iptables.watch().await {
            Ok(drift) => Signs::Told(drift),
            Err(error) => {
                warn!(%error, "changes by others are not told, and looked for");
                Signs::Untold
            }
        })
    }

    /// Returns when it is time to look.
    ///
    /// # Cancel safety
    /// Dropping the future loses no change.
    pub(super) async fn due(&mut self) {
        if self.due.is_none() {
            let after = match &mut self.signs {
                Signs::Never => pending().await,
                Signs::Untold => PERIOD,
                Signs::Told(drift) => {
                    if let Err(error) = drift.next().await {
                        warn!(%error, "changes by others are no longer told, and looked for");
                        self.signs = Signs::Untold;
                    }
                    BURST
                }
            };
            self.due = Some(Instant::now() + self.patience(after));
        }
        if let Some(due) = self.due {
            sleep_until(due).await;
            self.due = None;
        }
    }

    /// Takes note of what a look found.
    pub(super) fn looked(&mut self, found: bool) {
        let recently = self.repaired.is_some_and(|last| last.elapsed() < 2 * LONGEST);
        if found {
            self.repairs = if recently { self.repairs.saturating_add(1) } else { 1 };
            self.repaired = Some(Instant::now());
            if self.repairs == PROMPT {
                warn!(
                    "somebody keeps changing the rules; they are put right less often from now on"
                );
            }
        }
    }

    fn patience(&self, shortest: Duration) -> Duration {
        let doublings = self.repairs.saturating_sub(PROMPT).min(10);
        (shortest * 2_u32.pow(doublings)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_keeps_changing_the_rules_is_put_right_less_and_less_often() {
        let mut lookout = Lookout::new(Signs::Untold);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let begin = Instant::now();
            lookout.due().await;
            waits.push(begin.elapsed());
            lookout.looked(true);
        }
        assert!(waits[..4].iter().all(|wait| *wait < Duration::from_secs(1)), "{waits:?}");
        assert!(waits[11] > Duration::from_secs(50), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST + BURST), "{waits:?}");

        tokio::time::sleep(3 * LONGEST).await;
        lookout.looked(true);
        let begin = Instant::now();
        lookout.due().await;
        assert!(begin.elapsed() < Duration::from_secs(1));
    }
}
