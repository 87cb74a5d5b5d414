//! Who gives way: the UDP sessions of those who have more.
//!
//! A connection is never cut for another client. A session costs its client little: the next datagram begins another one.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::Held;

/// How many sessions of a port are asked for at once: a turn of its task, and enough for whoever needs them for some time.
const AT_ONCE: usize = 64;

/// Whoever has sessions, and can end some.
pub(crate) trait GiveWay: Debug + Send + Sync {
    /// Asks for the end of that many sessions, soon.
    fn give_way(&self, sessions: usize);
}

/// The UDP ports that have had sessions.
#[derive(Debug)]
pub(super) struct Crowd(Mutex<Vec<Weak<Held>>>);

/// What a port has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Has {
    sessions: usize,
    /// Those that never got an answer.
    unanswered: usize,
}

impl Crowd {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    pub(super) fn join(&self, port: &Arc<Held>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|port| port.strong_count() > 0);
        }
        all.push(Arc::downgrade(port));
    }

    /// Asks the one that is to give way for a client whose port has `own` descriptors, where there is one. Says how many
    /// the port with the most has.
    pub(super) fn relieve(&self, own: usize) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ports: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        drop(all);
        let of =
            |port: &Arc<Held>| Has { sessions: port.sessions(), unanswered: port.unanswered() };
        let has: Vec<_> = ports.iter().map(of).collect();
        if let Some((port, sessions)) = choose(own, &has) {
            ports[port].ask(sessions);
        }
        has.iter().map(|has| has.sessions).max().unwrap_or(0)
    }
}

/// Whose sessions go, and how many: of those that have more than `own`, the one with the most that never got an answer; where
/// nobody has such ones, the one with the most. At most a half of the difference, so that the two come to equal parts.
fn choose(own: usize, has: &[Has]) -> Option<(usize, usize)> {
    let more = has.iter().enumerate().filter(|(_, has)| has.sessions > own + 1);
    let (place, has) = more.max_by_key(|(_, has)| (has.unanswered, has.sessions))?;
    let of_these = if has.unanswered > 0 { has.unanswered } else { has.sessions };
    Some((place, ((has.sessions - own) / 2).min(of_these).min(AT_ONCE)))
}

#[cfg(test)]
mod tests {
    use super::{super::budget::Budget, *};

    const fn has(sessions: usize, unanswered: usize) -> Has {
        Has { sessions, unanswered }
    }

    #[test]
    fn sessions_that_never_got_an_answer_go_first_across_ports() {
        let ports = [has(900, 0), has(500, 20), has(300, 200), has(10, 10)];
        assert_eq!(choose(100, &ports), Some((2, AT_ONCE)));
        // The third one has no more than the one who asks.
        assert_eq!(choose(300, &ports), Some((1, 20)));
        assert_eq!(choose(600, &ports), Some((0, AT_ONCE)));
        assert_eq!(choose(890, &ports), Some((0, 5)));
    }

    #[test]
    fn nobody_gives_way_to_one_who_has_as_much() {
        assert_eq!(choose(10, &[has(10, 10), has(11, 11)]), None);
        assert_eq!(choose(10, &[has(12, 1)]), Some((0, 1)));
        assert_eq!(choose(0, &[]), None);
    }

    #[derive(Debug)]
    struct Asked(Arc<Mutex<Vec<usize>>>);

    impl GiveWay for Asked {
        fn give_way(&self, sessions: usize) {
            self.0.lock().unwrap().push(sessions);
        }
    }

    #[test]
    fn a_port_is_asked_again_once_it_has_given_way_and_not_when_it_is_gone() {
        let budget: &'static Budget = Box::leak(Box::new(Budget::new()));
        let crowd = Crowd::new();
        let asked = Arc::default();
        let port = || Box::new(Asked(Arc::clone(&asked))) as Box<dyn GiveWay>;
        let held = Held::new(budget.share(1));
        held.note(0, port);
        crowd.join(&held);
        let mut claims: Vec<_> = (0..10).map(|_| held.take_over()).collect();
        assert_eq!([crowd.relieve(0), crowd.relieve(0)], [10, 10]);
        assert_eq!(*asked.lock().unwrap(), [5]);
        claims.truncate(5);
        held.has_given_way();
        assert_eq!(crowd.relieve(0), 5);
        assert_eq!(*asked.lock().unwrap(), [5, 2]);
        drop((claims, held));
        assert_eq!(crowd.relieve(0), 0);
        for _ in 0..100 {
            crowd.join(&Held::new(budget.share(1)));
        }
        assert!(crowd.0.lock().unwrap().capacity() <= 8);
    }
}
