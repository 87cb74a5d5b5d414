//! Which way the next bytes of a direction take.

/// How many small moves in a row say that bulk has turned into small traffic again.
const SHORT: u8 = 4;

/// How many reads that could be spliced go through the buffer before a pipe is asked for again, where there was none: about as
/// many bytes as a pipe takes.
const WITHOUT: u8 = 64;

/// What is known of a direction's traffic.
///
/// Small traffic goes through the buffer, and a read that fills the buffer is the begin of bulk. Bulk is spliced until some
/// moves in a row were smaller than the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Small, and so many full reads are let pass before it counts as bulk.
    Small { pass: u8 },
    /// So many moves in a row were small; `look` is whether the next read goes through the buffer nevertheless.
    Bulk { short: u8, look: bool },
    /// The kernel does not splice these sockets.
    Refused,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self::Small { pass: 0 }
    }

    /// Whether the next bytes are spliced.
    pub(super) fn is_spliced(self) -> bool {
        matches!(self, Self::Bulk { look: false, .. })
    }

    /// So much was read through the buffer, which is or is not full by it.
    pub(super) fn read(&mut self, full: bool) {
        *self = match (*self, full) {
            (Self::Small { pass: 0 }, true) => Self::Bulk { short: 0, look: false },
            (Self::Small { pass }, true) => Self::Small { pass: pass - 1 },
            (Self::Bulk { .. }, true) => Self::Bulk { short: 0, look: false },
            (Self::Bulk { short, .. }, false) => Self::after(short + 1, false),
            (small, _) => small,
        }
    }

    /// So much was spliced, more or less than the buffer takes; `drained` where it was less than was asked for.
    ///
    /// The next read is then an ordinary one: a read that fills the buffer only in part says that nothing is left, and a
    /// splice never does, but for one more call that moves nothing.
    pub(super) fn spliced(&mut self, small: bool, drained: bool) {
        if let Self::Bulk { short, .. } = *self {
            *self = Self::after(if small { short + 1 } else { 0 }, drained);
        }
    }

    /// Nothing is there to be read. What comes next goes the ordinary way of its pace.
    pub(super) fn waits(&mut self) {
        if let Self::Bulk { look, .. } = self {
            *look = false;
        }
    }

    /// Nothing is there to be spliced.
    pub(super) fn looks(&mut self) {
        if let Self::Bulk { look, .. } = self {
            *look = true;
        }
    }

    /// There is no pipe.
    pub(super) fn goes_without(&mut self) {
        *self = Self::Small { pass: WITHOUT };
    }

    fn after(short: u8, look: bool) -> Self {
        match short {
            SHORT.. => Self::new(),
            short => Self::Bulk { short, look },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_read_begins_bulk_and_small_moves_end_it() {
        let mut pace = Pace::new();
        pace.read(false);
        assert!(!pace.is_spliced());
        pace.read(true);
        for _ in 1..SHORT {
            assert!(pace.is_spliced());
            pace.spliced(true, false);
        }
        pace.spliced(false, false);
        for _ in 0..SHORT {
            assert!(pace.is_spliced());
            pace.spliced(true, true);
            pace.waits();
        }
        assert_eq!(pace, Pace::new());
    }

    #[test]
    fn a_drained_socket_is_read_once_before_it_is_spliced_again() {
        let mut pace = Pace::new();
        pace.read(true);
        pace.spliced(false, true);
        assert!(!pace.is_spliced());
        pace.read(true);
        assert!(pace.is_spliced());
        pace.looks();
        assert!(!pace.is_spliced());
        pace.waits();
        assert!(pace.is_spliced());
    }

    #[test]
    fn a_pipe_that_was_not_there_is_asked_for_later() {
        let mut pace = Pace::new();
        pace.goes_without();
        for _ in 0..WITHOUT {
            pace.read(true);
            assert!(!pace.is_spliced());
        }
        pace.read(true);
        assert!(pace.is_spliced());
    }

    #[test]
    fn what_the_kernel_refuses_is_not_asked_for_again() {
        let mut pace = Pace::Refused;
        for _ in 0..1000 {
            pace.read(true);
            pace.waits();
            pace.looks();
            pace.spliced(false, false);
            assert!(!pace.is_spliced());
        }
    }
}
