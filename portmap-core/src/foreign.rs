//! Text of others, where it is shown.

use std::fmt::{self, Display, Write as _};

/// As much of a text as anybody reads, in characters: an error of iptables fits in it several times.
const MOST: usize = 1000;

/// Stands where a text was cut.
const CUT: &str = "...";

/// Text that somebody else wrote (the name of a process, what a tool or a daemon said, an error's words), as a terminal and a log
/// can be given it: on one line, and nothing in it is obeyed.
///
/// What has no picture of its own is escaped as Rust does it in a string: control characters as `\n` or `\u{1b}`, and likewise
/// what turns the direction of a line or separates lines and paragraphs, what joins or hides characters, and what is unassigned.
/// Quotes and backslashes stay as they are, so escaping twice is escaping once.
///
/// Whatever prints such a text wraps it: a process can have any name, and its owner need not be the one who reads it. Where a
/// program is told (JSON, an accessor such as [`HolderProcess::name`](crate::HolderProcess::name)), it is told the text itself.
///
/// ```
/// use portmap_core::Foreign;
///
/// let name = "nginx\u{1b}[2J\n";
/// assert_eq!(Foreign::new(name).to_string(), r"nginx\u{1b}[2J\n");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign<T> {
    text: T,
    most: usize,
}

impl<T: Display> Foreign<T> {
    /// Shows at most 1,000 characters of it, and `...` in the place of the rest.
    pub const fn new(text: T) -> Self {
        Self { text, most: MOST }
    }

    /// Shows all of it, for a text that holds others' and whose own length is known to be all right.
    pub const fn of_any_length(text: T) -> Self {
        Self { text, most: usize::MAX }
    }
}

impl<T: Display> Display for Foreign<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaped = Escaped { to: f, left: self.most, is_cut: false };
        write!(escaped, "{}", self.text)
    }
}

/// Writes no more than so many characters, none of which is obeyed.
struct Escaped<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    left: usize,
    is_cut: bool,
}

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut shown = 0;
        for (place, char) in text.char_indices() {
            if self.left == 0 {
                self.to.write_str(&text[shown..place])?;
                return self.cut();
            }
            self.left -= 1;
            if !is_shown(char) {
                self.to.write_str(&text[shown..place])?;
                write!(self.to, "{}", char.escape_debug())?;
                shown = place + char.len_utf8();
            }
        }
        self.to.write_str(&text[shown..])
    }
}

impl Escaped<'_, '_> {
    fn cut(&mut self) -> fmt::Result {
        match std::mem::replace(&mut self.is_cut, true) {
            true => Ok(()),
            false => self.to.write_str(CUT),
        }
    }
}

/// Whether a character is shown as it is.
fn is_shown(char: char) -> bool {
    // The standard library keeps the list of what can be printed: all that its `Debug` leaves alone.
    matches!(char, ' '..='~') || char.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, shown) in [
            ("nginx: worker", "nginx: worker"),
            ("\u{1b}]0;pwn\u{7}\u{1b}[2J", r"\u{1b}]0;pwn\u{7}\u{1b}[2J"),
            ("one\r\ntwo\tthree\0", r"one\r\ntwo\tthree\0"),
            // C1: one character that some terminals take for the two of an escape.
            ("\u{9b}2J\u{7f}", r"\u{9b}2J\u{7f}"),
            // The direction of a line, its end, a paragraph's, and what is not seen.
            ("a\u{202e}b\u{2066}c\u{200f}d", r"a\u{202e}b\u{2066}c\u{200f}d"),
            ("a\u{2028}b\u{2029}c", r"a\u{2028}b\u{2029}c"),
            ("a\u{200b}b\u{feff}c\u{e0041}", r"a\u{200b}b\u{feff}c\u{e0041}"),
            (r#"it's "C:\x""#, r#"it's "C:\x""#),
            ("Zürich 東京 \u{1f980}", "Zürich 東京 \u{1f980}"),
        ] {
            assert_eq!(Foreign::new(text).to_string(), shown);
        }
    }

    #[test]
    fn a_long_text_is_cut_once() {
        let long = "x".repeat(MOST + 1);
        assert_eq!(Foreign::new(&long).to_string(), "x".repeat(MOST) + CUT);
        assert_eq!(Foreign::new(&long[1..]).to_string(), long[1..]);
        assert_eq!(Foreign::of_any_length(&long).to_string(), long);
        // Also one that comes in pieces.
        let pieces = format_args!("{long}{long}\n");
        assert_eq!(Foreign::new(pieces).to_string(), "x".repeat(MOST) + CUT);
    }

    proptest! {
        #[test]
        fn nothing_but_what_is_shown_comes_out_and_twice_is_once(text in any::<String>()) {
            let once = Foreign::of_any_length(&text).to_string();
            prop_assert!(once.chars().all(is_shown), "{once:?}");
            prop_assert_eq!(Foreign::of_any_length(&once).to_string(), once);
        }
    }
}
