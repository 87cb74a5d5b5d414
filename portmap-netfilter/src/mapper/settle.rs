//! Publishes and releases, many at once.

use std::{collections::VecDeque, mem, slice};

use portmap_core::{Binding, Error, Lease, Reservation};
use portmap_rules::{Edit, Entry};
use tracing::debug;

use super::{
    hold::Held,
    order::{Order, Reply},
    task::{Task, is_overdue},
};

/// A publish or a release that waits for the kernel.
pub(super) enum Waiting {
    Publish {
        entry: Entry,
        bindings: Vec<Binding>,
        reservation: Option<Reservation>,
        reply: Reply<Lease>,
    },
    Release {
        entry: Entry,
        reply: Option<Reply<()>>,
    },
}

impl Waiting {
    /// What a publish wants in force.
    pub(super) fn bindings(&self) -> Option<&[Binding]> {
        match self {
            Self::Publish { bindings, .. } => Some(bindings),
            Self::Release { .. } => None,
        }
    }

    /// The same, where NAT leads there: a routed network's host ports are not taken.
    pub(super) fn nat_bindings(&self) -> Option<&[Binding]> {
        match self {
            Self::Publish { bindings, reservation: Some(_), .. } => Some(bindings),
            _ => None,
        }
    }
}

impl Task {
    /// Has everything that waits done in one transaction. Where that fails, each alone: one that cannot be done must
    /// not stand in the way of the others.
    pub(super) async fn settle(&mut self, waiting: &mut Vec<Waiting>) {
        let all = self.make_way(mem::take(waiting)).await;
        if all.len() > 1 && self.change(edit_of(&all)).await.is_ok() {
            self.close_way(&[]).await;
            for one in all {
                self.finish(one, Ok(())).await;
            }
        } else {
            let mut all = VecDeque::from(all);
            while let Some(one) = all.pop_front() {
                let done = self.change(edit_of(slice::from_ref(&one))).await;
                self.close_way(all.make_contiguous()).await;
                self.finish(one, done).await;
            }
        }
        self.detach_leaving().await;
    }

    async fn finish(&mut self, one: Waiting, done: Result<(), Error>) {
        match one {
            Waiting::Publish { entry, bindings, reservation, reply } => {
                if done.is_ok() {
                    debug!(?entry, bindings = bindings.len(), "published");
                    self.reservations.extend(reservation.map(|reservation| (entry, reservation)));
                }
                match (done, self.orders.upgrade()) {
                    (Ok(()), Some(orders)) => {
                        // Where nobody waits any more the lease comes back, and its drop withdraws it.
                        let _ = reply.send(Ok(Lease::new(bindings, Held::new(entry, orders))));
                    }
                    // Everybody has gone: who could wait for this, or be heard when it is released?
                    (Ok(()), None) => self.withdraw_entry(entry, None).await,
                    (Err(error), _) => drop(reply.send(Err(error))),
                }
            }
            Waiting::Release { entry, reply } => self.released(entry, reply, done),
        }
    }

    async fn withdraw_entry(&mut self, entry: Entry, reply: Option<Reply<()>>) {
        let done = self.change(Edit { release: vec![entry], ..Edit::default() }).await;
        self.released(entry, reply, done);
    }

    fn released(&mut self, entry: Entry, reply: Option<Reply<()>>, done: Result<(), Error>) {
        if done.is_ok() {
            debug!(?entry, "released");
            self.reservations.remove(&entry);
        }
        if is_overdue(reply, done) {
            self.overdue.push(Order::Release { entry, reply: None });
        }
    }
}

fn edit_of(waiting: &[Waiting]) -> Edit {
    let mut edit = Edit::default();
    for one in waiting {
        match one {
            Waiting::Publish { entry, bindings, .. } => {
                edit.publish.push((*entry, bindings.clone()))
            }
            Waiting::Release { entry, .. } => edit.release.push(*entry),
        }
    }
    edit
}
