//! When to look whether somebody else has changed the rules.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::DriftWatch;

/// Changes come in bursts, a tool's commit a table: a look a burst will do. All is put right within a second.
const BURST: Duration = Duration::from_millis(300);
/// How often to look where nothing tells of changes.
const PERIOD: Duration = Duration::from_millis(800);
/// Somebody who puts back each time what we put right is a program like us: after so many times in a row we take longer
/// and longer, up to the longest, instead of fighting.
const PROMPT: u32 = 4;
const LONGEST: Duration = Duration::from_secs(60);
/// A change that comes later than this after the last repair, and later than twice what we waited ourselves, is no answer to
/// that repair: a program like us waits as long as we do.
const QUIET: Duration = Duration::from_secs(10);
/// After how long a look, or a repair, that failed is tried again: twice as long each time, up to the longest.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST_AGAIN: Duration = Duration::from_secs(10);

/// Tells when to look.
#[derive(Debug)]
pub(super) struct Lookout {
    signs: Signs,
    due: Option<Instant>,
    /// How many times in a row something had to be put right, and when last.
    repairs: u32,
    repaired: Option<Instant>,
    /// How many looks in a row have failed.
    failures: u32,
}

/// What tells that somebody else has changed something.
#[derive(Debug)]
pub(super) enum Signs {
    /// Nothing: nobody else can change the rules, or there are none.
    Never,
    /// A notice of each change.
    Told(DriftWatch),
    /// Nothing, though there are changes.
    Untold,
}

impl Lookout {
    pub(super) const fn new(signs: Signs) -> Self {
        Self { signs, due: None, repairs: 0, repaired: None, failures: 0 }
    }

    /// Goes by other signs from now on. What was changed before they were there is looked for.
    pub(super) fn go_by(&mut self, signs: Signs) {
        if !matches!(signs, Signs::Never) {
            self.soon();
        }
        self.signs = signs;
    }

    /// Returns when it is time to look.
    ///
    /// # Cancel safety
    /// Dropping the future loses no change, and puts off no look.
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
            self.forget_an_old_quarrel();
            self.due = Some(Instant::now() + self.patience(after));
        }
        if let Some(due) = self.due {
            sleep_until(due).await;
            self.due = None;
        }
    }

    /// Has a look taken soon: what is in force is not known for sure.
    pub(super) fn soon(&mut self) {
        self.within(BURST);
    }

    /// Takes note of what a look found, and that it is put right.
    pub(super) fn looked(&mut self, found: bool) {
        self.failures = 0;
        if found {
            self.forget_an_old_quarrel();
            self.repairs = self.repairs.saturating_add(1);
            self.repaired = Some(Instant::now());
            if self.repairs == PROMPT {
                warn!(
                    "somebody keeps changing the rules; they are put right less often from now on"
                );
            }
        }
    }

    /// Takes note of a look that failed, or that found what could not be put right: another one follows, whether or not
    /// anything changes by then.
    pub(super) fn failed(&mut self) {
        let again = AGAIN * 2_u32.pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.within(again.min(LONGEST_AGAIN));
    }

    fn within(&mut self, time: Duration) {
        let due = Instant::now() + time;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    fn forget_an_old_quarrel(&mut self) {
        let over = QUIET.max(2 * self.patience(PERIOD));
        if self.repaired.is_some_and(|last| last.elapsed() > over) {
            self.repairs = 0;
            self.repaired = None;
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

    async fn waited(lookout: &mut Lookout) -> Duration {
        let begin = Instant::now();
        lookout.due().await;
        begin.elapsed()
    }

    async fn after_a_quarrel() -> (Lookout, Vec<Duration>) {
        let mut lookout = Lookout::new(Signs::Untold);
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(waited(&mut lookout).await);
            lookout.looked(true);
        }
        (lookout, waits)
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_changing_the_rules_is_put_right_less_and_less_often() {
        let (mut lookout, waits) = after_a_quarrel().await;
        assert!(waits[..4].iter().all(|wait| *wait < Duration::from_secs(1)), "{waits:?}");
        assert!(waits[11] > Duration::from_secs(50), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST + BURST), "{waits:?}");

        tokio::time::sleep(3 * LONGEST).await;
        lookout.looked(true);
        assert!(waited(&mut lookout).await < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_repair_of_a_new_quarrel_is_prompt() {
        let (mut lookout, _) = after_a_quarrel().await;
        tokio::time::sleep(3 * LONGEST).await;
        assert!(waited(&mut lookout).await < Duration::from_secs(1));
        // And the quarrel itself is still one: an answer within our own patience is no new beginning.
        let (mut lookout, waits) = after_a_quarrel().await;
        tokio::time::sleep(waits[11]).await;
        assert!(waited(&mut lookout).await > Duration::from_secs(50));
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_tried_again_though_nothing_changes() {
        let mut lookout = Lookout::new(Signs::Never);
        let mut waits = Vec::new();
        for _ in 0..6 {
            lookout.failed();
            waits.push(waited(&mut lookout).await.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        lookout.looked(true);
        lookout.failed();
        assert_eq!(waited(&mut lookout).await.as_secs(), 1);
    }
}
