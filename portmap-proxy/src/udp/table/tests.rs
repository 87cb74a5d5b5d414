//! The table, against one that is too simple to be wrong.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*};

use super::*;

const IDLE: Duration = Duration::from_secs(90);

fn flow(client: u16) -> Flow {
    let client = SocketAddr::from(([192, 0, 2, 7], client));
    Flow { client, local: IpAddr::from([192, 0, 2, 1]), interface: 0 }
}

#[test]
fn a_client_has_a_session_for_each_address_that_it_writes_to() {
    let now = Instant::now();
    let mut table = Table::new(10, IDLE);
    let one = flow(1);
    let two = Flow { local: IpAddr::from([192, 0, 2, 2]), ..one };
    let (first, _) = table.insert(one, (), now);
    assert_eq!(table.find(&two), None);
    let (second, _) = table.insert(two, (), now);
    assert_eq!((table.find(&one), table.find(&two)), (Some(first), Some(second)));
}

#[test]
fn a_session_ends_when_nothing_went_through_it_in_either_direction() {
    let begin = Instant::now();
    let mut table = Table::new(10, IDLE);
    let (quiet, _) = table.insert(flow(1), 1, begin);
    let (used, _) = table.insert(flow(2), 2, begin);
    table.touch(used, begin + IDLE / 2);
    assert_eq!(table.next_expiry(), Some(begin + IDLE));
    assert_eq!(table.expire(begin + IDLE - Duration::from_nanos(1)), None);
    assert_eq!(table.expire(begin + IDLE), Some(1));
    assert_eq!(table.expire(begin + IDLE), None);
    assert_eq!(table.get(quiet), None);
    assert_eq!(table.next_expiry(), Some(begin + IDLE * 3 / 2));
}

#[test]
fn a_full_table_lets_go_of_the_least_recently_used() {
    let now = Instant::now();
    let mut table = Table::new(2, IDLE);
    let (one, _) = table.insert(flow(1), 1, now);
    table.insert(flow(2), 2, now);
    table.touch(one, now);
    assert_eq!(table.insert(flow(3), 3, now).1, Some(2));
    assert_eq!(table.len(), 2);
    assert!(table.find(&flow(1)).is_some() && table.find(&flow(2)).is_none());
}

#[test]
fn sessions_that_never_got_an_answer_go_first() {
    let now = Instant::now();
    let mut table = Table::new(8, IDLE);
    for client in 0..4 {
        let (id, _) = table.insert(flow(client), client, now);
        assert!(table.answer(id, now));
        assert!(!table.answer(id, now));
    }
    // A flood: it goes round in its own part of the table.
    for client in 4..100 {
        let evicted = table.insert(flow(client), client, now).1;
        assert_eq!(evicted, (client >= 8).then(|| client - 4));
    }
    assert_eq!((table.len(), table.unanswered()), (8, 4));
    assert!((0..4).all(|client| table.find(&flow(client)).is_some()));
}

#[test]
fn a_new_client_has_time_for_its_answer_in_a_table_full_of_those_who_got_theirs() {
    let mut now = Instant::now();
    let mut table = Table::new(8, IDLE);
    for client in 0..100 {
        now += Duration::from_millis(1);
        let (_, evicted) = table.insert(flow(client), client, now);
        assert_eq!(evicted, (client >= 8).then(|| client - 8));
        // Its answer comes when two more have asked.
        let asked = client.checked_sub(2).and_then(|client| table.find(&flow(client)));
        asked.inspect(|id| assert!(table.answer(*id, now)));
    }
}

#[test]
fn a_number_of_a_session_that_ended_is_nobodys() {
    let now = Instant::now();
    let mut table = Table::new(2, IDLE);
    let (old, _) = table.insert(flow(1), 1, now);
    assert_eq!(table.remove(old), Some(1));
    let (new, _) = table.insert(flow(1), 2, now);
    assert_ne!(old, new);
    assert_eq!(Id::from(u64::from(new)), new);
    table.touch(old, now + IDLE);
    assert_eq!(table.get(old), None);
    assert_eq!(table.remove(old), None);
    assert_eq!(table.next_expiry(), Some(now + IDLE));
}

#[test]
fn a_time_that_never_comes_is_no_time() {
    let mut table = Table::new(0, Duration::MAX);
    table.insert(flow(1), (), Instant::now());
    assert_eq!((table.len(), table.next_expiry()), (1, None));
}

/// What a table is asked to do, with a flow's or a session's number, after a time in seconds.
#[derive(Clone, Debug)]
enum Step {
    Datagram(u16),
    Reply(usize),
    Answer(usize),
    End(usize),
    Expire,
    Evict,
    /// A session of a client with an even number.
    EvictEven,
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        6 => (0..12_u16).prop_map(Step::Datagram),
        3 => (0..64_usize).prop_map(Step::Reply),
        3 => (0..64_usize).prop_map(Step::Answer),
        1 => (0..64_usize).prop_map(Step::End),
        2 => Just(Step::Expire),
        1 => Just(Step::Evict),
        1 => Just(Step::EvictEven),
    ];
    (0..40_u64, step)
}

/// Sessions in the order of their use, the oldest first, and those of them that got an answer.
#[derive(Default)]
struct Model(Vec<(Flow, Instant)>, HashSet<Flow>);

impl Model {
    fn used(&mut self, flow: Flow, now: Instant) {
        self.0.retain(|(other, _)| *other != flow);
        self.0.push((flow, now));
    }

    fn remove(&mut self, index: usize) -> Flow {
        let (flow, _) = self.0.remove(index);
        self.1.remove(&flow);
        flow
    }

    fn unanswered(&self) -> usize {
        self.0.len() - self.1.len()
    }

    fn first_to_go(&self) -> Option<usize> {
        let mut flows = self.0.iter().map(|(flow, _)| flow);
        match self.unanswered() > self.0.len() / 4 {
            true => flows.position(|flow| !self.1.contains(flow)),
            false => flows.next().map(|_| 0),
        }
    }

    fn evict(&mut self) -> Option<Flow> {
        self.first_to_go().map(|index| self.remove(index))
    }

    fn evict_if(&mut self, will_do: impl Fn(&Flow) -> bool) -> Option<Flow> {
        let answered = self.0.iter().position(|(flow, _)| self.1.contains(flow));
        let mut candidates = [self.first_to_go(), answered].into_iter().flatten();
        let index = candidates.find(|index| will_do(&self.0[*index].0));
        index.map(|index| self.remove(index))
    }

    fn oldest_due(&self, now: Instant) -> bool {
        self.0.first().is_some_and(|(_, used)| *used + IDLE <= now)
    }
}

proptest! {
    #[test]
    fn a_table_does_what_a_list_would(limit in 1..6_usize, steps in vec(step(), 1..200)) {
        let mut now = Instant::now();
        let mut table = Table::new(limit, IDLE);
        let (mut model, mut ids) = (Model::default(), Vec::new());
        for (seconds, step) in steps {
            // No two at the same time: which of them was first a list alone would know.
            now += Duration::new(seconds, 1);
            match step {
                Step::Datagram(client) => {
                    let flow = flow(client);
                    match table.find(&flow) {
                        Some(id) => table.touch(id, now),
                        None => {
                            let full = model.0.len() == limit;
                            let goes = full.then(|| model.evict()).flatten();
                            let (id, evicted) = table.insert(flow, flow, now);
                            prop_assert_eq!(evicted, goes);
                            ids.push((id, flow));
                        }
                    }
                    model.used(flow, now);
                }
                Step::Reply(number) => {
                    if let Some((id, flow)) = ids.get(number).copied() {
                        let lives = table.get(id).is_some();
                        prop_assert_eq!(lives, table.find(&flow) == Some(id));
                        table.touch(id, now);
                        if lives {
                            model.used(flow, now);
                        }
                    }
                }
                Step::Answer(number) => {
                    if let Some((id, flow)) = ids.get(number).copied() {
                        let lives = table.get(id).is_some();
                        let is_first = table.answer(id, now);
                        prop_assert_eq!(is_first, lives && model.1.insert(flow));
                        if lives {
                            model.used(flow, now);
                        }
                    }
                }
                Step::End(number) => {
                    if let Some((id, flow)) = ids.get(number).copied() {
                        let removed = table.remove(id);
                        if removed.is_some() {
                            model.0.retain(|(other, _)| *other != flow);
                            model.1.remove(&flow);
                        }
                    }
                }
                Step::Expire => {
                    while model.oldest_due(now) {
                        prop_assert_eq!(table.expire(now), Some(model.remove(0)));
                    }
                    prop_assert_eq!(table.expire(now), None);
                }
                Step::Evict => {
                    prop_assert_eq!(table.evict(), model.evict());
                }
                Step::EvictEven => {
                    let even = |flow: &Flow| flow.client.port().is_multiple_of(2);
                    prop_assert_eq!(table.evict_if(even), model.evict_if(even));
                }
            }
            prop_assert!(table.len() <= limit);
            prop_assert_eq!(table.len(), model.0.len());
            prop_assert_eq!(table.unanswered(), model.unanswered());
            prop_assert_eq!(table.next_expiry(), model.0.first().map(|(_, used)| *used + IDLE));
            for (flow, _) in &model.0 {
                prop_assert!(table.find(flow).is_some());
            }
        }
    }
}
