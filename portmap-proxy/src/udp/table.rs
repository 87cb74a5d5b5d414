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

/// The sessions of one listener, each with a `T`, in the order in which they were last used.
///
/// All that is done for a datagram takes constant time and allocates nothing.
#[derive(Debug)]
pub(crate) struct Table<T> {
    idle: Duration,
    limit: usize,
    places: HashMap<Flow, u32>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// The ends of the list of what is used, linked by place.
    oldest: Option<u32>,
    newest: Option<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    flow: Flow,
    used: Instant,
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
            oldest: None,
            newest: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
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
        if self.newest != Some(id.place) {
            self.unlink(id.place);
            self.link_newest(id.place);
        }
    }

    /// Adds a session whose flow has none. Where the table is full, the least recently used one goes for it.
    pub(crate) fn insert(&mut self, flow: Flow, value: T, now: Instant) -> (Id, Option<T>) {
        let evicted = if self.len() >= self.limit { self.evict() } else { None };
        let entry = Some(Entry { flow, used: now, older: None, newer: None, value });
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

    /// Removes the session that was not used for longest.
    pub(crate) fn evict(&mut self) -> Option<T> {
        self.remove_at(self.oldest?)
    }

    /// Removes a session whose time is over, if there is one.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<T> {
        match self.next_expiry()? {
            due if due <= now => self.evict(),
            _ => None,
        }
    }

    /// When the next session's time is over if nothing more comes.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let oldest = self.slots[self.oldest? as usize].entry.as_ref()?;
        // A time that is too far away for a clock never comes.
        oldest.used.checked_add(self.idle)
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
        match self.at(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.at(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, place: u32) {
        let older = self.newest.replace(place);
        match self.at(older) {
            Some(entry) => entry.newer = Some(place),
            None => self.oldest = Some(place),
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
