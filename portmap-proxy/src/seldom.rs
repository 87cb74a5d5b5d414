//! Logging what may happen a thousand times a second.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line through a second, and counts what the line stands for.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Option<Instant>,
    count: u64,
}

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self { last: None, count: 0 }
    }

    /// Counts one more; says how many there were since the last line where it is time for the next one.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.last.is_some_and(|last| now < last + INTERVAL) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_counts_what_came_since_the_last() {
        let begin = Instant::now();
        let mut seldom = Seldom::default();
        let at = [0, 1, 999, 1000, 1001, 5000];
        let lines = at.map(|millis| seldom.count(begin + Duration::from_millis(millis)));
        assert_eq!(lines, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
