//! A view at the end of a terminal's lines, redrawn in its place.
//!
//! It takes nothing from the terminal that would have to be given back: lines above stay, scrolling back shows them, and a
//! process that is killed leaves a terminal as it was.

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
};

use portmap::Foreign;
use rustix::termios::tcgetwinsize;

/// To the line's begin, so many lines up, and everything from there on away.
const UP: &str = "\r\x1b[";
const CLEAR: &str = "\x1b[J";
/// Long lines are cut by the terminal meanwhile: a line that went on in the next one would be one too many to go up.
const CUT: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Where nobody says how many lines there are.
const USUAL: usize = 24;

#[derive(Default)]
pub(super) struct Screen {
    /// Lines of the view that stand there.
    height: usize,
}

impl Screen {
    /// How many lines a view may have.
    pub(super) fn rows(&self) -> usize {
        let rows = tcgetwinsize(stdout()).map_or(0, |size| usize::from(size.ws_row));
        if rows == 0 { USUAL } else { rows }.saturating_sub(1).max(1)
    }

    /// Puts lines above the view, for good, and the view anew. One write: a signal finds the terminal before or after it.
    pub(super) fn draw(&mut self, above: &[String], view: &[String]) {
        let mut text = String::new();
        if self.height > 0 {
            let _ = write!(text, "{UP}{}A", self.height);
        }
        text.push_str(CLEAR);
        for line in above {
            // One line each, whatever is in it: so many are gone up again.
            let _ = writeln!(text, "{}", Foreign::of_any_length(line));
        }
        text.push_str(CUT);
        for line in view {
            let _ = writeln!(text, "{}", Foreign::of_any_length(line));
        }
        text.push_str(WRAP);
        self.height = view.len();
        let mut terminal = stdout().lock();
        // Where the terminal has gone, nobody looks.
        let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
    }
}
