//! What was seen at the last look, and what a new one makes of it.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use portmap::{
    Protocol,
    rules::{self, FlowState},
};

use super::{
    MOST, PATIENCE,
    look::{Before, Look, Print, Prints},
};
use crate::monitor::{
    Monitor, Unlisted,
    by::{By, Tracked},
    flow::{Flow, How},
};

/// What was seen at the last look. The newest connections are followed, and the others counted.
#[derive(Default)]
pub(super) struct Last {
    open: HashMap<Print, Seen>,
    /// What there was, also what is not followed.
    prints: Option<Arc<Prints>>,
    numbers: RandomState,
    ends: HashSet<IpAddr>,
    /// What is not followed.
    unlisted: Unlisted,
}

struct Seen {
    flow: Flow,
    state: FlowState,
}

impl Last {
    /// What a look has to know.
    pub(super) fn before(&self) -> Before {
        Before {
            numbers: self.numbers.clone(),
            prints: self.prints.clone(),
            followed: Arc::new(self.open.keys().copied().collect()),
        }
    }

    /// Notices what is over: none of that is ever told.
    pub(super) fn skip(&mut self, look: Look) {
        self.prints = Some(Arc::new(Prints { over: look.prints.over, ..Prints::default() }));
    }

    /// Tells what has begun and what has ended, on the thread that calls it.
    pub(super) fn compare(&mut self, look: Look, monitor: &Monitor) {
        let until = Instant::now() + PATIENCE;
        let known: HashMap<_, _> = look.known.into_iter().collect();
        let gone: Vec<_> = self
            .open
            .extract_if(|print, seen| match known.get(print) {
                Some(flow) => {
                    seen.see(flow);
                    flow.state == FlowState::Closed
                }
                // What the kernel has forgotten.
                None => true,
            })
            .collect();
        for (_, seen) in gone {
            make_way(monitor, until);
            seen.end();
        }
        let (over, begun): (Vec<_>, Vec<_>) =
            look.new.into_iter().partition(|(_, flow)| flow.state == FlowState::Closed);
        for (_, flow) in over {
            make_way(monitor, until);
            Seen::first(&flow, monitor).into_iter().for_each(Seen::end);
        }
        // Those that were there before and could not be followed: some have ended, some come into a place that is free now.
        let ended = self.unlisted.open.saturating_sub(look.old) as u64 + look.more.1;
        let mut open = look.old + look.more.0;
        open += self.leave_oldest(begun.len(), monitor, until);
        let places = MOST.saturating_sub(self.open.len() + begun.len());
        let waiting = look.waiting.into_iter().take(places);
        let adopted = waiting.len();
        for (print, flow) in waiting.chain(begun) {
            make_way(monitor, until);
            if let Some(seen) = Seen::first(&flow, monitor) {
                self.open.insert(print, seen);
            }
        }
        let unlisted = Unlisted { open: open - adopted, ended: self.unlisted.ended + ended };
        if self.unlisted != unlisted {
            monitor.unlisted(unlisted);
            self.unlisted = unlisted;
        }
        self.ends = look.ends;
        self.prints = Some(Arc::new(look.prints));
    }

    /// Makes room for so many: those that came first are not followed any more. Returns how many these are.
    fn leave_oldest(&mut self, coming: usize, monitor: &Monitor, until: Instant) -> usize {
        let count = (self.open.len() + coming).saturating_sub(MOST);
        if count == 0 {
            return 0;
        }
        let mut by_age: Vec<_> =
            self.open.iter().map(|(print, seen)| (seen.flow.id(), *print)).collect();
        by_age.sort_unstable();
        for (_, print) in by_age.iter().take(count) {
            make_way(monitor, until);
            self.open.remove(print).into_iter().for_each(|seen| seen.flow.leave());
        }
        count
    }

    /// Where connections lead that are open.
    pub(super) const fn ends(&self) -> &HashSet<IpAddr> {
        &self.ends
    }

    /// Tells of all that is open that it is not followed any more.
    pub(super) fn leave(self, monitor: &Monitor) {
        let until = Instant::now() + PATIENCE;
        for seen in self.open.into_values() {
            make_way(monitor, until);
            drop(seen);
        }
    }
}

impl Seen {
    fn first(seen: &rules::Flow, monitor: &Monitor) -> Option<Self> {
        let port = seen.endpoint.port().try_into().ok()?;
        let by = By::Nat(Tracked::new(seen));
        let flow = Flow::begin(monitor, seen.protocol, (seen.client, Some(seen.host)), port, by);
        Some(Self { flow, state: seen.state })
    }

    fn see(&mut self, seen: &rules::Flow) {
        self.flow.see(seen);
        self.state = seen.state;
    }

    fn end(self) {
        let never_answered =
            self.state == FlowState::Opening && self.flow.protocol() == Protocol::Tcp;
        let cause = "the container did not answer".to_owned();
        match never_answered {
            true => self.flow.end(How::Refused { root: cause.clone(), cause }),
            false => self.flow.end_as_seen(""),
        }
    }
}

/// Waits for the printer, for a moment: one look can find more than there is room for.
fn make_way(monitor: &Monitor, until: Instant) {
    while monitor.is_crowded() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
}
