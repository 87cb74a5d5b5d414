//! What was seen at the last look, and what a new one makes of it.

use std::{
    collections::{HashMap, HashSet},
    mem,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use portmap::{
    Port, Protocol,
    rules::{self, FlowState},
};

use super::PATIENCE;
use crate::monitor::{
    Monitor,
    by::{By, Tracked},
    flow::{Flow, How},
};

/// What was seen at the last look.
#[derive(Default)]
pub(super) struct Last {
    open: HashMap<Key, Seen>,
    /// Connections that are over, and still remembered by the kernel.
    over: HashSet<Key>,
    has_looked: bool,
}

/// A connection: a number alone need not be unique, and a client may use a port again.
type Key = (Protocol, SocketAddr, SocketAddr, u32);

struct Seen {
    flow: Flow,
    endpoint: SocketAddr,
    state: FlowState,
}

impl Last {
    /// Notices what is over: none of that is ever told.
    pub(super) fn skip(&mut self, flows: &[rules::Flow]) {
        self.over.extend(flows.iter().filter(|flow| flow.state == FlowState::Closed).map(key));
        self.has_looked = true;
    }

    /// Tells what has begun and what has ended, on the thread that calls it.
    pub(super) fn compare(&mut self, flows: &[rules::Flow], monitor: &Monitor) {
        let until = Instant::now() + PATIENCE;
        let mut before = mem::take(&mut self.open);
        let was_over = mem::take(&mut self.over);
        for flow in flows {
            make_way(monitor, until);
            let key = key(flow);
            let is_over = flow.state == FlowState::Closed;
            // A table that grows while it is listed has some twice.
            if self.open.contains_key(&key) || is_over && !self.over.insert(key) {
                continue;
            }
            let Ok(port) = flow.endpoint.port().try_into() else { continue };
            let known = before.remove(&key);
            if is_over && known.is_none() && (!self.has_looked || was_over.contains(&key)) {
                continue;
            }
            let seen = match known {
                Some(seen) => seen.again(flow),
                None => Seen::first(flow, port, monitor),
            };
            match is_over {
                true => seen.end(),
                false => drop(self.open.insert(key, seen)),
            }
        }
        // What the kernel has forgotten.
        for seen in before.into_values() {
            make_way(monitor, until);
            seen.end();
        }
        self.has_looked = true;
    }

    /// Where connections lead that are open.
    pub(super) fn ends(&self) -> HashSet<IpAddr> {
        self.open.values().map(|seen| seen.endpoint.ip()).collect()
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
    fn first(seen: &rules::Flow, port: Port, monitor: &Monitor) -> Self {
        let by = By::Nat(Tracked::new(seen));
        let flow = Flow::begin(monitor, seen.protocol, (seen.client, Some(seen.host)), port, by);
        Self { flow, endpoint: seen.endpoint, state: seen.state }
    }

    fn again(self, seen: &rules::Flow) -> Self {
        self.flow.see(seen);
        Self { state: seen.state, ..self }
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

fn key(flow: &rules::Flow) -> Key {
    (flow.protocol, flow.client, flow.host, flow.id)
}

/// Waits for the printer, for a moment: one look can find more than there is room for.
fn make_way(monitor: &Monitor, until: Instant) {
    while monitor.is_crowded() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
}
