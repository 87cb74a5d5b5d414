//! How descriptors are shared out: the arithmetic alone.

/// One in so many descriptors is kept back for those who have little.
const KEPT: usize = 8;

/// Where that makes less than so many for each binding, more is kept back: two connections' worth.
const FEW: usize = 4;

/// But never more than one in so many.
const MOST_KEPT: usize = 4;

/// How many times as much as is free one port may have. So a single one that takes what it gets ends with four fifths of
/// what is not kept back, and a second one still gets a fifth of that, whatever the first one does. Two that are busy
/// get four ninths each. With 8 a second one would get a tenth of it, with 2 the first one two thirds.
const TIMES_FREE: usize = 4;

/// What a binding may have in any case, if there is one: a connection's worth.
const LEAST: usize = super::CONNECTION;

/// The descriptors of a moment that clients can have, and how many bindings share them.
///
/// * Each binding has a **reserve**, an equal part of an eighth, that no other one can take.
/// * Beyond it a port may have four times as much as is **free then**, without what is kept back. It is the rule by which
///   switches share their buffers (Choudhury and Hahne's dynamic threshold): it needs to know of nobody else, leaves
///   something free whoever takes what he gets, and brings those who want much to equal parts.
///
/// Who is alone has all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) capacity: usize,
    pub(super) bindings: usize,
    /// How many share what is beyond the reserves: a TCP binding is one, each port of a UDP binding is one.
    pub(super) parties: usize,
}

impl Rule {
    /// What each binding has for itself.
    pub(super) fn reserve(self) -> usize {
        let one_in = |part: usize| self.capacity / part / self.bindings.max(1);
        one_in(KEPT).max(one_in(MOST_KEPT).min(FEW))
    }

    /// What is left for all where so many are taken.
    pub(super) fn free(self, taken: usize) -> usize {
        self.capacity.saturating_sub(self.reserve() * self.bindings).saturating_sub(taken)
    }

    /// Whether a port may have `own`, where its binding has `of_binding` then, and all have `taken`.
    pub(super) fn admits(self, own: usize, of_binding: usize, taken: usize) -> bool {
        self.is_alone()
            || of_binding <= self.reserve().max(LEAST)
            || own <= self.free(taken).saturating_mul(TIMES_FREE)
    }

    /// Whether there is nobody to share with.
    pub(super) fn is_alone(self) -> bool {
        self.parties <= 1
    }

    /// Whether it is not far from there: at a half of what it may have.
    pub(super) fn is_short(self, own: usize, of_binding: usize, taken: usize) -> bool {
        !self.admits(2 * own, 2 * of_binding, taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Bindings of one port each that take and give back.
    struct Model {
        rule: Rule,
        used: Vec<usize>,
    }

    impl Model {
        fn new(capacity: usize, bindings: usize) -> Self {
            Self { rule: Rule { capacity, bindings, parties: bindings }, used: vec![0; bindings] }
        }

        fn taken(&self) -> usize {
            self.used.iter().sum()
        }

        fn take(&mut self, binding: usize, units: usize) -> bool {
            let own = self.used[binding] + units;
            let admitted = self.rule.admits(own, own, self.taken() + units);
            self.used[binding] += if admitted { units } else { 0 };
            admitted
        }

        /// All that this one gets.
        fn fill(&mut self, binding: usize, units: usize) -> usize {
            while self.take(binding, units) {}
            self.used[binding]
        }
    }

    #[test]
    fn a_binding_that_is_alone_has_all() {
        assert!(Rule { capacity: 10, bindings: 1, parties: 1 }.admits(1000, 1000, 1000));
    }

    #[test]
    fn the_udp_ports_of_a_range_share_what_it_has() {
        let rule = Rule { capacity: 1000, bindings: 1, parties: 10 };
        let flooded = (1..).take_while(|own| rule.admits(*own, *own, *own)).count();
        assert_eq!(flooded, 700);
        assert!(rule.admits(1, flooded + 1, flooded + 1));
    }

    #[test]
    fn one_that_takes_all_it_gets_leaves_room_for_the_next() {
        let mut model = Model::new(4000, 10);
        let greedy = model.fill(0, 2);
        assert!((2700..2900).contains(&greedy), "{greedy}");
        let next = model.fill(1, 2);
        assert!((500..600).contains(&next), "{next}");
        // And everybody has the reserve then.
        let reserve = model.rule.reserve();
        assert_eq!(reserve, 50);
        assert!((2..10).all(|binding| model.fill(binding, 1) >= reserve));
    }

    #[test]
    fn those_who_want_much_come_to_equal_parts() {
        let mut model = Model::new(4000, 4);
        model.fill(0, 1);
        // The first one's sessions end now and then, and all ask again.
        for _ in 0..4000 {
            for binding in 0..3 {
                model.used[binding] -= model.used[binding].min(1);
                model.take(2 - binding, 1);
                model.take(2 - binding, 1);
            }
        }
        let (least, most) = (model.used[..3].iter().min(), model.used[..3].iter().max());
        assert!(most.unwrap() - least.unwrap() <= most.unwrap() / 20, "{:?}", model.used);
    }

    #[test]
    fn thousands_of_bindings_have_a_few_each_or_at_least_what_is_free() {
        assert_eq!(Rule { capacity: 40_000, bindings: 2500, parties: 2500 }.reserve(), FEW);
        // There are not enough: whoever has none may try, and nobody takes all.
        let mut model = Model::new(3000, 3000);
        assert!(model.fill(0, 2) <= 2400);
        assert!((1..200).all(|binding| model.take(binding, 2)));
    }

    #[test]
    fn a_port_is_short_before_it_is_refused() {
        let mut model = Model::new(1000, 2);
        let short =
            |model: &Model| model.rule.is_short(model.used[0], model.used[0], model.taken());
        while !short(&model) {
            assert!(model.take(0, 1));
        }
        let half = model.used[0];
        assert!((500..650).contains(&half), "{half}");
        assert!(model.fill(0, 1) > half && short(&model));
    }

    #[test]
    fn whoever_has_none_may_try_however_little_there_is() {
        let rule = Rule { capacity: 0, bindings: 5, parties: 5 };
        assert!(rule.admits(2, 2, 100));
        assert!(!rule.admits(4, 4, 100));
    }

    proptest! {
        #[test]
        fn a_reserve_is_there_whatever_the_others_do(
            capacity in 100..5000_usize,
            bindings in 2..12_usize,
            steps in vec((0..12_usize, 1..3_usize, any::<bool>(), 1..400_usize), 1..200),
        ) {
            let mut model = Model::new(capacity, bindings);
            let reserve = model.rule.reserve();
            prop_assert!(reserve >= LEAST);
            for (who, units, takes, times) in steps {
                let who = who % bindings;
                for _ in 0..times {
                    if takes {
                        model.take(who, units);
                    } else if model.used[who] >= units {
                        model.used[who] -= units;
                    }
                }
                prop_assert!(model.taken() <= capacity);
            }
            for who in 0..bindings {
                while model.used[who] < reserve {
                    prop_assert!(model.take(who, 1));
                }
            }
            prop_assert!(model.taken() <= capacity);
        }
    }
}
