//! The view for a terminal: what is published, who is connected, and what was carried.

mod flows;
mod totals;

use portmap::Binding;

use self::{flows::Flows, totals::Totals};
use super::{News, Unlisted, lead, plain, printer::Sink, screen::Screen};
use crate::output::Table;

/// Lines a second that may go past above the view: more nobody can read.
const PAST: usize = 12;

#[derive(Default)]
pub(super) struct Live {
    screen: Screen,
    bindings: Vec<Binding>,
    flows: Flows,
    totals: Totals,
    /// What is neither in the one nor in the other.
    unlisted: Unlisted,
    /// What is to be put above the view.
    past: Vec<String>,
    /// What there is no room for.
    more: usize,
    released: bool,
}

impl Sink for Live {
    fn take(&mut self, news: News) {
        match news {
            News::Note(line) => self.past(line),
            News::Published(_, bindings) => {
                self.bindings = bindings;
                self.draw();
            }
            News::Retargeted(changed) => lead(&mut self.bindings, &changed),
            News::Opened(served) => {
                self.flows.add(served);
            }
            News::Ended(served, end) => {
                self.flows.remove(served.id);
                if let Some(line) = plain::line(&served, &end) {
                    self.past(line);
                }
                self.totals.ended(end);
            }
            News::Unlisted(unlisted) => self.unlisted = unlisted,
            News::Released => self.released = true,
            News::End => {}
        }
    }

    fn lost(&mut self, count: u64) {
        self.past(format!("{count} events came faster than they could be counted"));
    }

    fn tick(&mut self) {
        self.flows.tick();
        self.draw();
    }
}

impl Live {
    fn draw(&mut self) {
        if self.more > 0 {
            self.past.push(format!("... and {} more", self.more));
            self.more = 0;
        }
        let past = std::mem::take(&mut self.past);
        let view = self.view();
        self.screen.draw(&past, &view);
    }

    fn past(&mut self, line: String) {
        match self.past.len() < PAST {
            true => self.past.push(line),
            false => self.more += 1,
        }
    }

    fn view(&mut self) -> Vec<String> {
        if self.bindings.is_empty() {
            return Vec::new();
        }
        let rows = self.screen.rows();
        let mut view = lines(&Table::of_bindings(&self.bindings));
        let mut below = self.totals.lines(self.flows.len(), self.flows.bytes(), self.unlisted);
        if !self.released {
            below.push("Ctrl-C ends it.".to_owned());
        }
        // Who is connected takes the room that is left; of a long list of bindings the first ones have to do.
        view.truncate(rows.saturating_sub(below.len() + 4).max(2));
        let room = rows.saturating_sub(view.len() + below.len());
        view.extend(self.flows.lines(room));
        view.append(&mut below);
        view.truncate(rows);
        view
    }
}

fn lines(text: &impl ToString) -> Vec<String> {
    text.to_string().lines().map(str::to_owned).collect()
}
