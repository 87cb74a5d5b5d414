//! Whose changes are one's own.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// How many authors are remembered: tools that ran so long ago have told of their changes.
const LAST: usize = 16;

/// The ports of netlink sockets whose changes are one's own, the last ones.
///
/// A tool's socket has the number of its process as its port: the kernel chooses that, where it is free. A port that
/// is put down before the tool is given anything to do is known before its change is told of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authors(Arc<Mutex<VecDeque<u32>>>);

impl Authors {
    pub(crate) fn add(&self, port: u32) {
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ports.truncate(LAST - 1);
        ports.push_front(port);
    }

    pub(crate) fn has(&self, port: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&port)
    }
}
