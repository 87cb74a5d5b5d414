//! Whose numbers there are.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use portmap_core::Binding;

use super::{BindingStats, Counters, facade};

/// The numbers of a mapper's bindings, in the order in which these were published. Only publishing and
/// reading take its lock.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Vec<Weak<Counters>>>);

/// A recorder of metrics is the process's; it is told once what they mean.
static DESCRIBED: Once = Once::new();

impl Registry {
    /// Begins to count for a binding. Its numbers are there until the last who counts drops them.
    pub(crate) fn add(&self, binding: &Binding) -> Arc<Counters> {
        DESCRIBED.call_once(facade::describe);
        let counters = Arc::new(Counters::new(binding));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it would take more room, and so seldom that it costs a publish nothing.
        if all.len() == all.capacity() {
            all.retain(|counters| counters.strong_count() > 0);
        }
        all.push(Arc::downgrade(&counters));
        counters
    }

    pub(crate) fn stats(&self) -> Vec<BindingStats> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|counters| counters.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).map(|counters| counters.stats()).collect()
    }
}

#[cfg(test)]
mod tests {
    use portmap_core::{Endpoint, HostAddr, Protocol};

    use super::*;

    #[test]
    fn what_nobody_counts_for_any_more_takes_no_room() {
        let binding = Binding::new(
            Protocol::Tcp,
            HostAddr::Any,
            "8080".parse().unwrap(),
            Endpoint::from([192, 0, 2, 2]),
            "80".parse().unwrap(),
        );
        let (registry, binding) = (Registry::default(), binding.unwrap());
        let kept = registry.add(&binding);
        for _ in 0..1000 {
            drop(registry.add(&binding));
        }
        assert!(registry.0.lock().unwrap().capacity() <= 8);
        assert_eq!(registry.stats().len(), 1);
        drop(kept);
        assert!(registry.stats().is_empty());
    }
}
