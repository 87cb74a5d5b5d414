//! Medians, spreads and percentiles.

/// The middle of some figures, and how far they reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` where nothing was measured.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self { median, low, high })
    }

    /// Whether the figures reach so far that the median alone would mislead: over a quarter of it from lowest to highest.
    pub(crate) fn is_wide(&self) -> bool {
        self.high - self.low > 0.25 * self.median.abs()
    }
}

/// How long each operation took, in nanoseconds.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn with_room() -> Self {
        Self(Vec::with_capacity(1 << 18))
    }

    pub(crate) fn add(&mut self, took: std::time::Duration) {
        self.0.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The given part of the operations (0.99) took no longer than this, in microseconds.
    pub(crate) fn percentile(&mut self, part: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        let at = ((self.0.len() - 1) as f64 * part).round() as usize;
        let (_, value, _) = self.0.select_nth_unstable(at);
        f64::from(*value) / 1e3
    }
}
