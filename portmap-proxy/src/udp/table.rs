//! Which sessions there are, and which of them ends next. No sockets and no clock: it is told the time.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// What makes a session: who writes, and to which address of this host. As the listening socket has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) client: SocketAddr,
    pub(crate) local: IpAddr,
    /// The interface that it wrote by, where the address means something on one link alone; else 0.
    pub(crate) interface: u32,
}

/// A session's number. That of a session which has ended is never mistaken for a later one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    place: u32,
    generation: u32,
}

/// The sessions of one listener, each with a `T`, in the order in which they were last used: those that never got an
/// answer, and the others.
///
/// All that is done for a datagram takes constant time and allocates nothing.
#[derive(Debug)]
pub(crate) struct Table<T> {
    idle: Duration,
    limit: usize,
    places: HashMap<Flow, u32>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    unanswered: List,
    answered: List,
}

/// The ends of a list of what is used, linked by place, and its length.
#[derive(Debug, Default)]
struct List {
    oldest: Option<u32>,
    newest: Option<u32>,
    len: usize,
}

/// Where sessions have to go, those without an answer go first if they are more than one in so many. The rest of them may just be
/// about to get theirs: were the newest always to go, nobody new would be served in a table that is full of those who were.
const UNANSWERED: usize = 4;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    flow: Flow,
    used: Instant,
    answered: bool,
    older: Option<u32>,
    newer: Option<u32>,
    value: T,
}

impl<T> Table<T> {
    /// At most `limit` sessions, and at least one; a session ends `idle` after its last datagram.
    pub(crate) fn new(limit: usize, idle: Duration) -> Self {
        Self {
            idle,
            limit: limit.clamp(1, u32::MAX as usize),
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            unanswered: List::default(),
            answered: List::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many never got an answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.len
    }

    pub(crate) fn find(&self, flow: &Flow) -> Option<Id> {
        let place = *self.places.get(flow)?;
        Some(Id { place, generation: self.slots[place as usize].generation })
    }

    /// The session and its flow, where it has not ended.
    pub(crate) fn get(&mut self, id: Id) -> Option<(&Flow, &mut T)> {
        let entry = self.entry(id)?;
        Some((&entry.flow, &mut entry.value))
    }

    /// Says that a datagram went through, in whichever direction.
    pub(crate) fn touch(&mut self, id: Id, now: Instant) {
        let Some(entry) = self.entry(id) else {
            return;
        };
        entry.used = now;
        let answered = entry.answered;
        if self.list(answered).newest != Some(id.place) {
            self.unlink(id.place);
            self.link_newest(id.place);
        }
    }

    /// Says that its client gets an answer. Says whether it is the first one.
    pub(crate) fn answer(&mut self, id: Id, now: Instant) -> bool {
        let is_first = self.entry(id).is_some_and(|entry| !entry.answered);
        if is_first {
            self.unlink(id.place);
            if let Some(entry) = self.entry(id) {
                (entry.answered, entry.used) = (true, now);
            }
            self.link_newest(id.place);
        } else {
            self.touch(id, now);
        }
        is_first
    }

    /// Adds a session whose flow has none. Where the table is full, another one [goes](Self::evict) for it.
    pub(crate) fn insert(&mut self, flow: Flow, value: T, now: Instant) -> (Id, Option<T>) {
        let evicted = if self.len() >= self.limit { self.evict() } else { None };
        let entry =
            Some(Entry { flow, used: now, answered: false, older: None, newer: None, value });
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize].entry = entry;
                place
            }
            None => {
                self.slots.push(Slot { generation: 0, entry });
                // Bounded by the limit, which is such a number.
                (self.slots.len() - 1) as u32
            }
        };
        self.places.insert(flow, place);
        self.link_newest(place);
        (Id { place, generation: self.slots[place as usize].generation }, evicted)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        self.entry(id)?;
        self.remove_at(id.place)
    }

    /// Removes the session that was not used for longest: of those that never got an answer while they are more than a
    /// quarter, else of all.
    pub(crate) fn evict(&mut self) -> Option<T> {
        self.remove_at(self.first_to_go()?)
    }

    /// The same, where that session will do. Where it will not, the one that was not used for longest of those that got an
    /// answer goes if it does, and else none: constant time, too.
    pub(crate) fn evict_if(&mut self, will_do: impl Fn(&T) -> bool) -> Option<T> {
        let mut candidates = [self.first_to_go(), self.answered.oldest].into_iter().flatten();
        let place = candidates.find(|place| {
            let entry = self.slots[*place as usize].entry.as_ref();
            entry.is_some_and(|entry| will_do(&entry.value))
        })?;
        self.remove_at(place)
    }

    fn first_to_go(&self) -> Option<u32> {
        match self.unanswered.len > self.len() / UNANSWERED {
            true => self.unanswered.oldest,
            false => self.oldest(),
        }
    }

    /// Removes a session whose time is over, if there is one.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<T> {
        match self.next_expiry()? {
            due if due <= now => self.remove_at(self.oldest()?),
            _ => None,
        }
    }

    /// When the next session's time is over if nothing more comes.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        // A time that is too far away for a clock never comes.
        self.used(self.oldest()?)?.checked_add(self.idle)
    }

    /// The one of all that was not used for longest.
    fn oldest(&self) -> Option<u32> {
        let oldest = [self.unanswered.oldest, self.answered.oldest].into_iter().flatten();
        oldest.min_by_key(|place| self.used(*place))
    }

    fn used(&self, place: u32) -> Option<Instant> {
        self.slots[place as usize].entry.as_ref().map(|entry| entry.used)
    }

    fn list(&mut self, answered: bool) -> &mut List {
        match answered {
            true => &mut self.answered,
            false => &mut self.unanswered,
        }
    }

    fn entry(&mut self, id: Id) -> Option<&mut Entry<T>> {
        let slot = self.slots.get_mut(id.place as usize)?;
        slot.entry.as_mut().filter(|_| slot.generation == id.generation)
    }

    fn at(&mut self, place: Option<u32>) -> Option<&mut Entry<T>> {
        self.slots[place? as usize].entry.as_mut()
    }

    fn remove_at(&mut self, place: u32) -> Option<T> {
        self.unlink(place);
        let slot = &mut self.slots[place as usize];
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(place);
        self.places.remove(&entry.flow);
        Some(entry.value)
    }

    fn unlink(&mut self, place: u32) {
        let Some(entry) = self.at(Some(place)) else {
            return;
        };
        let (older, newer) = (entry.older.take(), entry.newer.take());
        let answered = entry.answered;
        match self.at(older) {
            Some(entry) => entry.newer = newer,
            None => self.list(answered).oldest = newer,
        }
        match self.at(newer) {
            Some(entry) => entry.older = older,
            None => self.list(answered).newest = older,
        }
        self.list(answered).len -= 1;
    }

    fn link_newest(&mut self, place: u32) {
        let Some(answered) = self.at(Some(place)).map(|entry| entry.answered) else {
            return;
        };
        let list = self.list(answered);
        list.len += 1;
        let older = list.newest.replace(place);
        match self.at(older) {
            Some(entry) => entry.newer = Some(place),
            None => self.list(answered).oldest = Some(place),
        }
        if let Some(entry) = self.at(Some(place)) {
            entry.older = older;
        }
    }
}

impl From<Id> for u64 {
    fn from(id: Id) -> Self {
        Self::from(id.generation) << 32 | Self::from(id.place)
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self { place: number as u32, generation: (number >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests;
