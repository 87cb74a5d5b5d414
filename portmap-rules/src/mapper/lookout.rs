//! When to look whether somebody else has changed the rules.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::{Drift, DriftWatch, Iptables, IptablesVariant};

/// Changes come in bursts, a tool's commit a table: a look a burst will do. All is put right within a second.
const BURST: Duration = Duration::from_millis(300);
/// How often to look where nothing tells of changes.
const PERIOD: Duration = Duration::from_millis(800);

/// Tells when to look.
#[derive(Debug)]
pub(super) enum Lookout {
    /// Never: nobody else can change the rules.
    Never,
    /// Some time after a change.
    AfterChange { drift: DriftWatch, due: Option<Instant> },
    /// Every now and then.
    Periodic { due: Instant },
}

impl Lookout {
    /// For rules of iptables.
    pub(super) async fn of_iptables(iptables: &Iptables) -> Self {
        if iptables.variant() == IptablesVariant::Legacy {
            return Self::periodic();
        }
        match iptables.watch().await {
            Ok(drift) => Self::AfterChange { drift, due: None },
            Err(error) => {
                warn!(%error, "changes by others are not told, and looked for");
                Self::periodic()
            }
        }
    }

    fn periodic() -> Self {
        Self::Periodic { due: Instant::now() + PERIOD }
    }

    /// Returns when it is time to look.
    ///
    /// # Cancel safety
    /// Dropping the future loses no change.
    pub(super) async fn due(&mut self) {
        match self {
            Self::Never => pending().await,
            Self::Periodic { due } => {
                sleep_until(*due).await;
                *due = Instant::now() + PERIOD;
            }
            Self::AfterChange { drift, due } => {
                if due.is_none() {
                    match drift.next().await {
                        Ok(Drift::Changed { .. } | Drift::Missed) => {}
                        Err(error) => {
                            warn!(%error, "changes by others are no longer told");
                            *self = Self::periodic();
                            return;
                        }
                    }
                    *due = Some(Instant::now() + BURST);
                }
                if let Some(at) = *due {
                    sleep_until(at).await;
                    *due = None;
                }
            }
        }
    }
}
