//! The process's account of descriptors.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use portmap_core::{Binding, Protocol};

use super::{Held, Rule, look::Look, relief::Crowd};
use crate::seldom::Seldom;

/// The process has one limit, so one account serves all mappers.
pub(crate) static BUDGET: Budget = Budget::new();

/// How long what was found of the process's descriptors is believed, in milliseconds: limits are changed at run time, and the
/// embedder opens files. And how long where it was wrong, or somebody has to go without.
const BELIEVED: u64 = 1000;
const DOUBTED: u64 = 20;

/// How often somebody is looked for who is to give way, in milliseconds: it takes 0.1 ms with thousands of ports. And how often
/// for a port that has the most itself: it is not to take the turns of the others.
const RELIEF: u64 = 10;
const VAIN: u64 = 100;

/// What clients have of the descriptors, and what they can have.
///
/// Taking and giving back are two atomic additions each. A process that serves a single port asks the kernel nothing; one
/// that serves more looks once a second at most, while clients come.
#[derive(Debug)]
pub(crate) struct Budget {
    bindings: AtomicUsize,
    parties: AtomicUsize,
    /// By clients of all bindings.
    taken: AtomicUsize,
    /// What was found last.
    limit: AtomicUsize,
    others: AtomicUsize,
    /// When, in milliseconds since `epoch`.
    looked: AtomicU64,
    doubted: AtomicBool,
    /// When it was last looked who is to give way, and what the port with the most had then.
    relieved: AtomicU64,
    most: AtomicUsize,
    epoch: OnceLock<Instant>,
    told: Mutex<Seldom>,
    crowd: Crowd,
}

/// The part of one binding. It counts as long as it lives.
#[derive(Debug)]
pub(crate) struct Share {
    budget: &'static Budget,
    parties: usize,
    taken: AtomicUsize,
}

/// Descriptors of a share that a connection has. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Claim {
    share: Arc<Share>,
    units: usize,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self {
            bindings: AtomicUsize::new(0),
            parties: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
            looked: AtomicU64::new(0),
            doubted: AtomicBool::new(true),
            relieved: AtomicU64::new(0),
            most: AtomicUsize::new(0),
            epoch: OnceLock::new(),
            told: Mutex::new(Seldom::new()),
            crowd: Crowd::new(),
        }
    }

    /// A share for one more binding. It is to live as long as the binding's listeners and what they carry.
    pub(crate) fn share_of(&'static self, binding: &Binding) -> Arc<Share> {
        let udp = binding.protocol() == Protocol::Udp;
        self.share(if udp { binding.host_ports().len() } else { 1 })
    }

    /// The same for one in which so many take for themselves: the ports of a UDP binding do.
    pub(super) fn share(&'static self, parties: usize) -> Arc<Share> {
        self.bindings.fetch_add(1, Relaxed);
        self.parties.fetch_add(parties, Relaxed);
        // Its listening sockets are others' descriptors.
        self.look_soon();
        Arc::new(Share { budget: self, parties, taken: AtomicUsize::new(0) })
    }

    /// Whether there is something left beyond what is kept back: room for what helps and is not needed.
    pub(crate) fn is_ample(&self) -> bool {
        let rule = self.rule();
        // Before the first look nobody has had to share.
        rule.is_alone() || self.limit() == 0 || rule.free(self.taken.load(Relaxed)) > 0
    }

    /// The limit that was found last.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Learns from a client's descriptor that was just opened: all lower numbers are taken. What the embedder has opened
    /// since it was looked shows so, most likely.
    pub(crate) fn saw(&self, fresh: &impl AsFd) {
        let open = usize::try_from(fresh.as_fd().as_raw_fd()).map_or(0, |number| number + 1);
        let others = open.saturating_sub(self.taken.load(Relaxed));
        if others > self.others.load(Relaxed) {
            self.others.fetch_max(others, Relaxed);
        }
    }

    /// What is known of the process's descriptors may be wrong.
    pub(crate) fn look_soon(&self) {
        self.doubted.store(true, Relaxed);
    }

    /// Asks somebody to give way who has more than a port with `own` descriptors.
    pub(crate) fn relieve(&self, own: usize, now: Instant) {
        let has_most = own >= self.most.load(Relaxed);
        if self.is_due(&self.relieved, if has_most { VAIN } else { RELIEF }, now) {
            self.most.store(self.crowd.relieve(own), Relaxed);
        }
    }

    /// Whether it is time to tell (again) that a share is used up.
    pub(crate) fn may_tell(&self, now: Instant) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).count(now).is_some()
    }

    fn rule(&self) -> Rule {
        let capacity = self.limit.load(Relaxed).saturating_sub(self.others.load(Relaxed));
        let (bindings, parties) = (self.bindings.load(Relaxed), self.parties.load(Relaxed));
        Rule { capacity, bindings, parties }
    }

    fn look(&self, now: Instant) {
        let believed = if self.doubted.load(Relaxed) { DOUBTED } else { BELIEVED };
        if self.is_due(&self.looked, believed, now) {
            self.doubted.store(false, Relaxed);
            self.learn(Look::now());
        }
    }

    fn learn(&self, look: Look) {
        let (taken, before) = (self.taken.load(Relaxed), self.others.load(Relaxed));
        self.others.store(look.others(taken, before), Relaxed);
        self.limit.store(look.limit, Relaxed);
    }

    /// Whether something was last done that long ago; one of those that ask at a time is told so.
    fn is_due(&self, last: &AtomicU64, interval: u64, now: Instant) -> bool {
        let since = now.saturating_duration_since(*self.epoch.get_or_init(|| now));
        // From 1 on: 0 is never.
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let then = last.load(Relaxed);
        let due = then == 0 || now >= then.saturating_add(interval);
        due && last.compare_exchange(then, now, Relaxed, Relaxed).is_ok()
    }
}

impl Share {
    /// Takes some for a client of a binding that is one port, where it may have them.
    pub(crate) fn take(self: &Arc<Self>, units: usize, now: Instant) -> Option<Claim> {
        let own = self.taken();
        self.try_take(units, own, now).then(|| Claim { share: Arc::clone(self), units })
    }

    /// How many the binding has.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Takes some for a port that has `own`, where it may have them. Those who have more are asked to give way before there
    /// is no more to be had.
    pub(super) fn try_take(&self, units: usize, own: usize, now: Instant) -> bool {
        if self.budget.parties.load(Relaxed) > 1 {
            self.budget.look(now);
        }
        let of_binding = self.taken.fetch_add(units, Relaxed) + units;
        let taken = self.budget.taken.fetch_add(units, Relaxed) + units;
        // Who comes while another thread takes the first look has nothing to go by, and is let in.
        let unknown = self.budget.limit() == 0;
        let (rule, own) = (self.budget.rule(), own + units);
        let admitted = unknown || rule.admits(own, of_binding, taken);
        if !unknown && rule.is_short(own, of_binding, taken) {
            self.budget.relieve(own, now);
        }
        if !admitted {
            self.give_back(units);
            self.budget.look_soon();
        }
        admitted
    }

    pub(super) fn take_over(&self, units: usize) {
        self.taken.fetch_add(units, Relaxed);
        self.budget.taken.fetch_add(units, Relaxed);
    }

    pub(super) fn give_back(&self, units: usize) {
        self.taken.fetch_sub(units, Relaxed);
        self.budget.taken.fetch_sub(units, Relaxed);
    }

    pub(super) fn join(&self, port: &Arc<Held>) {
        self.budget.crowd.join(port);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.bindings.fetch_sub(1, Relaxed);
        self.budget.parties.fetch_sub(self.parties, Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.share.give_back(self.units);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, thread, time::Duration};

    use super::{super::look::Open, *};

    fn budget(limit: usize, others: usize, now: Instant) -> &'static Budget {
        let budget: &'static Budget = Box::leak(Box::new(Budget::new()));
        budget.learn(Look { limit, open: Open::Exactly(others) });
        // As if it had just been looked, which a test's process is not to be.
        budget.is_due(&budget.looked, 0, now);
        budget
    }

    fn fill(share: &Arc<Share>, now: Instant) -> Vec<Claim> {
        std::iter::from_fn(|| share.take(2, now)).collect()
    }

    #[test]
    fn what_one_binding_takes_another_one_gets_when_it_is_given_back() {
        let now = Instant::now();
        let budget = budget(1000, 200, now);
        let (one, two) = (budget.share(1), budget.share(1));
        let claims = fill(&one, now);
        assert!((250..300).contains(&claims.len()), "{}", claims.len());
        assert_eq!(one.taken(), 2 * claims.len());
        let few = fill(&two, now).len();
        assert!((50..100).contains(&few), "{few}");
        assert!(one.take(2, now).is_none());
        drop(claims);
        assert_eq!((one.taken(), two.taken(), budget.taken.load(Relaxed)), (0, 0, 0));
        assert!(fill(&two, now).len() > 250);
    }

    #[test]
    fn a_binding_has_all_once_the_others_are_gone() {
        let now = Instant::now();
        let budget = budget(100, 0, now);
        let (one, two) = (budget.share(1), budget.share(1));
        let claims = fill(&one, now);
        assert!(one.take(2, now).is_none());
        drop(two);
        assert!(one.take(2, now).is_some());
        assert!(claims.len() < 50);
    }

    #[test]
    fn it_is_looked_once_a_second_and_soon_where_that_may_be_wrong() {
        let now = Instant::now();
        let budget = budget(4, 0, now);
        let (_one, two) = (budget.share(1), budget.share(1));
        let looked = |after| {
            budget.limit.store(4, Relaxed);
            drop(two.take(1, now + Duration::from_millis(after)));
            budget.limit() != 4
        };
        // There is a new share.
        assert_eq!([19, 20, 1019, 1020].map(looked), [false, true, false, true]);
        budget.look_soon();
        assert_eq!([1039, 1040].map(looked), [false, true]);
    }

    #[test]
    fn descriptors_of_others_show_in_the_numbers_of_new_ones() {
        let now = Instant::now();
        let budget = budget(1000, 2, now);
        let (one, _two) = (budget.share(1), budget.share(1));
        let _claim = one.take(2, now);
        let files: Vec<_> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
        budget.saw(&files[49]);
        let others = budget.others.load(Relaxed);
        assert!(others >= 48, "{others}");
        // A lower number says nothing.
        budget.saw(&files[0]);
        assert_eq!(budget.others.load(Relaxed), others);
    }

    #[test]
    fn a_process_with_one_binding_is_not_looked_at() {
        let budget: &'static Budget = Box::leak(Box::new(Budget::new()));
        let share = budget.share(1);
        assert!(share.take(1000, Instant::now()).is_some());
        assert_eq!((budget.limit(), share.taken()), (0, 0));
    }

    #[test]
    fn who_comes_during_the_first_look_is_let_in() {
        let now = Instant::now();
        let budget: &'static Budget = Box::leak(Box::new(Budget::new()));
        let (one, two) = (budget.share(1), budget.share(1));
        // Another thread is about to look.
        assert!(budget.is_due(&budget.looked, 0, now));
        let claims = [&one, &two].map(|share| share.take(1000, now));
        assert!(claims.iter().all(Option::is_some));
        budget.learn(Look { limit: 1000, open: Open::Exactly(0) });
        assert!(one.take(2, now).is_none());
    }

    #[test]
    fn a_reserve_is_never_refused_while_others_take_all_they_get() {
        let now = Instant::now();
        let budget = budget(1000, 0, now);
        let [greedy, modest] = [(); 2].map(|()| [budget.share(1), budget.share(1)]);
        let reserve = budget.rule().reserve();
        thread::scope(|scope| {
            for share in &greedy {
                scope.spawn(|| (0..300).for_each(|_| drop(fill(share, now))));
            }
            for share in &modest {
                scope.spawn(|| {
                    for _ in 0..3000 {
                        let claims: Vec<_> =
                            (0..reserve / 2).map_while(|_| share.take(2, now)).collect();
                        assert_eq!(claims.len(), reserve / 2);
                    }
                });
            }
        });
        assert_eq!(budget.taken.load(Relaxed), 0);
    }
}
