//! Publishes and releases, many at once.

use std::{mem, slice};

use portmap_core::{Binding, Error, Lease, Reservation};
use tracing::debug;

use super::{
    hold::Held,
    order::Reply,
    task::{Task, answer, ended},
};
use crate::{Edit, Entry};

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

impl Task {
    /// Has everything that waits done in one transaction. Where that fails, each alone: one that cannot be done must
    /// not stand in the way of the others.
    pub(super) async fn settle(&mut self, waiting: &mut Vec<Waiting>) {
        let all = mem::take(waiting);
        if all.len() > 1 && self.change(edit_of(&all)).await.is_ok() {
            all.into_iter().for_each(|one| self.finish(one, Ok(())));
        } else {
            for one in all {
                let done = self.change(edit_of(slice::from_ref(&one))).await;
                self.finish(one, done);
            }
        }
        self.detach_leaving().await;
    }

    fn finish(&mut self, one: Waiting, done: Result<(), Error>) {
        match one {
            Waiting::Publish { entry, bindings, reservation, reply } => {
                let lease = done.and_then(|()| {
                    debug!(?entry, bindings = bindings.len(), "published");
                    self.reservations.extend(reservation.map(|reservation| (entry, reservation)));
                    let orders = self.orders.upgrade().ok_or_else(ended)?;
                    Ok(Lease::new(bindings, Held::new(entry, orders)))
                });
                // Where nobody waits any more the lease comes back, and its drop withdraws it.
                let _ = reply.send(lease);
            }
            Waiting::Release { entry, reply } => {
                if done.is_ok() {
                    debug!(?entry, "released");
                    self.reservations.remove(&entry);
                }
                answer(reply, done);
            }
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
