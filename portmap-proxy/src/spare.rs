//! Descriptors that are held in place of others.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use rustix::event::{EventfdFlags, eventfd};

use crate::tcp::relay::PIPES;

/// How many are kept for the next clients, so that taking one is no system call. With 32 clients at a time about as many
/// are accepted in a row before the first is dialled for; with 8, two in three took a new one.
const KEPT: usize = 32;

/// The process has one table of descriptors, so one store serves all mappers.
static IDLE: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// A descriptor that is held in place of one that will be opened.
#[derive(Debug)]
pub(crate) struct Spare(Option<OwnedFd>);

impl Spare {
    pub(crate) fn take() -> io::Result<Self> {
        let kept = idle().pop();
        kept.map_or_else(open, Ok).map(|descriptor| Self(Some(descriptor)))
    }

    /// Gives the descriptor up for the one that it was held for. Says whether it was still there.
    pub(crate) fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let mut idle = idle();
        if idle.len() < KEPT {
            idle.extend(self.0.take());
        }
    }
}

/// Closes what is kept for clients to come, of spare descriptors and of pipes: it is needed now.
pub(crate) fn make_room() {
    PIPES.close_idle();
    let spares = std::mem::take(&mut *idle());
    drop(spares);
}

fn open() -> io::Result<OwnedFd> {
    /// What spare descriptors are copies of.
    static MODEL: OnceLock<OwnedFd> = OnceLock::new();
    let model = match MODEL.get() {
        Some(model) => model,
        None => {
            let model = eventfd(0, EventfdFlags::CLOEXEC)?;
            MODEL.get_or_init(|| model)
        }
    };
    model.try_clone().or_else(|_| {
        // Idle pipes are worth less than a client.
        PIPES.close_idle();
        model.try_clone()
    })
}

fn idle() -> MutexGuard<'static, Vec<OwnedFd>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spares_are_kept_in_bounds_and_one_that_was_given_up_is_not() {
        let mut spares: Vec<_> = (0..3 * KEPT).map(|_| Spare::take().expect("a spare")).collect();
        assert!(spares.iter_mut().take(KEPT).all(Spare::give_up));
        assert!(!spares[0].give_up());
        drop(spares);
        assert_eq!(idle().len(), KEPT);
        make_room();
        assert_eq!(idle().len(), 0);
    }
}
