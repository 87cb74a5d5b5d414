//! What was set out to be reached, beside what was.

use super::{markdown::push, text::digits};
use crate::{
    goals::{GOALS, Goal, PROXIES, RULES},
    peer::Peer,
    record::Record,
};

pub(super) const TITLE: &str = "What it set out to reach";

/// Prints those of which something was measured.
pub(crate) fn print(record: &Record) {
    if GOALS.iter().any(|goal| goal.is_met(record).is_some()) {
        println!("\n{TITLE}: medians; direct is no publishing, for comparison");
    }
    for goal in GOALS {
        let Some(met) = goal.is_met(record) else { continue };
        let reached: String = columns(goal.by)
            .map(|peer| (figure(goal, record, peer), peer.name()))
            .filter(|(figure, _)| !figure.is_empty())
            .map(|(figure, name)| format!("{figure:>8} {name}"))
            .collect();
        let met = if met { "met" } else { "MISSED" };
        println!("  {met:6}  {:60} {:22}{reached}", what(goal), bound(goal));
    }
}

/// A table for the proxies, and one for the rules: they are compared with different peers.
pub(super) fn section(page: &mut String, record: &Record) {
    push(page, format_args!("\n## {TITLE}\n\n{ABOUT}"));
    for by in [PROXIES, RULES] {
        push(page, format_args!("\n| what | goal |"));
        for peer in columns(by) {
            push(page, format_args!(" {} |", peer.name()));
        }
        push(page, format_args!(" |\n|---|---:|{}---|\n", "---:|".repeat(by.len() + 1)));
        for goal in GOALS.iter().filter(|goal| goal.by == by) {
            push(page, format_args!("| {} | {} |", what(goal), bound(goal)));
            for peer in columns(by) {
                push(page, format_args!(" {} |", figure(goal, record, peer)));
            }
            let met = match goal.is_met(record) {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "not measured",
            };
            push(page, format_args!(" {met} |\n"));
        }
    }
}

const ABOUT: &str = "\
The numbers that the project has set itself. *x* is the median of the ratios within a repetition, as below. A goal is met if
one of ours keeps it; `direct`, which is no publishing, shows in the same terms what there is to be had on this machine.
";

/// Ours, and what there is to be had.
fn columns(by: &[Peer]) -> impl Iterator<Item = Peer> {
    by.iter().copied().chain([Peer::Direct])
}

fn what(goal: &Goal) -> String {
    let title = goal.measure().map_or("no such figure", |measure| measure.title);
    format!("{}, {}: {title}", goal.group, goal.cell)
}

fn bound(goal: &Goal) -> String {
    let sign = if goal.measure().is_some_and(|measure| measure.more) { '≥' } else { '≤' };
    match goal.than {
        Some(than) => format!("{sign} {} x {}", digits(goal.bound), than.name()),
        None => format!("{sign} {}", digits(goal.bound)),
    }
}

/// With more digits where three would show it on the other side of the bound.
fn figure(goal: &Goal, record: &Record, peer: Peer) -> String {
    let Some(figure) = goal.reached(record, peer) else {
        return String::new();
    };
    let short = digits(figure);
    let is_kept = |text: &str| text.parse().is_ok_and(|figure| goal.is_kept_by(figure));
    if is_kept(&short) == goal.is_kept_by(figure) { short } else { format!("{figure:.4}") }
}
