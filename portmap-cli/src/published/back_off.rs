//! Pauses that grow.

use std::time::Duration;

/// How long to wait before something that failed is tried again: 1, 2, 4, 8, 16, then 30 seconds.
pub(super) struct BackOff(Duration);

impl BackOff {
    /// Whoever has mended it waits no longer.
    const LONGEST: Duration = Duration::from_secs(30);

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LONGEST);
        pause
    }
}

impl Default for BackOff {
    fn default() -> Self {
        Self(Duration::from_secs(1))
    }
}
