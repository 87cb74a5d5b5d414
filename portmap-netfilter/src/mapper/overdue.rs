//! Withdrawals that failed, and that nobody can ask for again.

use std::{future::pending, mem, time::Duration};

use portmap_rules::Interface;
use tokio::time::{Instant, sleep_until};

use super::order::Order;

/// After how long a withdrawal that failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Orders that are to be given again, all of them at one time.
///
/// The time is fixed when the first one comes: a sleep that begins anew with each other event would never end on a host
/// where there is always something to do.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    orders: Vec<Order>,
    due: Option<Instant>,
}

impl Overdue {
    pub(super) fn push(&mut self, order: Order) {
        self.orders.push(order);
        self.due.get_or_insert_with(|| Instant::now() + AGAIN);
    }

    /// Takes back the detachment of a network: whether there was one.
    pub(super) fn keep(&mut self, bridge: Interface) -> bool {
        let before = self.orders.len();
        self.orders.retain(
            |order| !matches!(order, Order::Detach { bridge: gone, .. } if *gone == bridge),
        );
        if self.orders.is_empty() {
            self.due = None;
        }
        self.orders.len() < before
    }

    /// Returns when it is time to try again; never while there is nothing to try.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: the next one returns at the same time.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// What is to be tried again.
    pub(super) fn take(&mut self) -> Vec<Order> {
        self.due = None;
        mem::take(&mut self.orders)
    }
}
