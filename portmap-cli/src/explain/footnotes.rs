//! The rules that decide, numbered: each is printed once.

use std::fmt::{self, Display, Formatter};

use portmap::rules::{Ruleset, Step};

/// Rules as text, with the sentence that says why each exists.
#[derive(Debug, Default)]
pub(super) struct Footnotes(Vec<[String; 2]>);

impl Footnotes {
    /// The mark of a rule.
    pub(super) fn of(&mut self, step: &Step, rules: &Ruleset) -> Option<String> {
        let rule = step.rule(rules)?.text(rules.layout());
        let text = [format!("{}: {rule}", step.chain), step.purpose.to_string()];
        let place = self.0.iter().position(|known| *known == text).unwrap_or_else(|| {
            self.0.push(text);
            self.0.len() - 1
        });
        Some(format!("[{}]", place + 1))
    }
}

impl Display for Footnotes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().zip(1..).try_for_each(|([rule, purpose], number)| {
            writeln!(f, "[{number}] {rule}\n    {purpose}")
        })
    }
}
