//! Whose a container is.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process;
use std::str::FromStr;

use crate::error::{LabError, Step};

/// The label that everything bears; its value is the [`Owner`].
pub(super) const LABEL: &str = "portmap-testkit";

/// A process, by what no other one has: `4026531836-448-1234567`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The namespace in which the number counts: another one's processes cannot be seen, so may be alive.
    space: u64,
    pid: u32,
    /// When it was started, in ticks since boot: numbers are used again.
    start: u64,
}

impl Owner {
    pub(super) fn current() -> Result<Self, LabError> {
        let step = || "read /proc/self".to_owned();
        let space = fs::metadata("/proc/self/ns/pid").step(step)?.ino();
        let pid = process::id();
        let (_, start) = stat(pid).ok_or_else(|| LabError::new(step()))?;
        Ok(Self { space, pid, start })
    }

    /// Whether its process has ended, as far as `observer` can see.
    pub(super) fn has_ended(&self, observer: &Self) -> bool {
        // A zombie waits for its parent alone.
        let is_alive =
            || stat(self.pid).is_some_and(|(state, start)| state != 'Z' && start == self.start);
        self.space == observer.space && !is_alive()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { space, pid, start } = self;
        write!(f, "{space}-{pid}-{start}")
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split('-').map(|word| word.parse().map_err(|_| ()));
        let mut next = || words.next().ok_or(())?;
        let (space, pid, start) = (next()?, next()?, next()?);
        match words.next() {
            None => Ok(Self { space, pid: u32::try_from(pid).map_err(|_| ())?, start }),
            Some(_) => Err(()),
        }
    }
}

/// A process's state and start.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
}

/// `448 (a name) S 1 ..`: the third field is the state, the twenty-second the start. The name may have anything in it.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_its_label() {
        let owner = Owner { space: 4026531836, pid: 448, start: 1234567 };
        assert_eq!(owner.to_string().parse(), Ok(owner));
        for text in ["", "1-2", "1-2-3-4", "1-4294967296-3", "a-b-c", "1--3"] {
            assert_eq!(text.parse::<Owner>(), Err(()), "{text}");
        }
    }

    #[test]
    fn this_process_lives_and_one_of_the_same_number_before_it_does_not() {
        let us = Owner::current().unwrap();
        assert!(!us.has_ended(&us));
        let before = Owner { start: us.start - 1, ..us };
        assert!(before.has_ended(&us));
        assert!(!Owner { space: 1, ..before }.has_ended(&us), "nobody here can know");
    }

    #[test]
    fn a_name_with_a_parenthesis_hides_nothing() {
        let text = "448 (a) S 9 (x) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99 20";
        assert_eq!(parse_stat(text), Some(('Z', 99)));
    }
}
