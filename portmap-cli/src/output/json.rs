//! JSON that may come to a terminal.

use std::fmt::Write as _;

use portmap::Foreign;

/// The same JSON without a character that a terminal would obey. It has text of others as that is: JSON itself escapes some of
/// its control characters, and leaves those of C1 and what turns a line's direction.
pub(crate) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char == '\n' || char == ' ' || char.is_ascii_graphic() || is_shown(char) {
            shown.push(char);
            continue;
        }
        // It stands in a string: JSON has no such characters elsewhere.
        for unit in char.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown
}

fn is_shown(char: char) -> bool {
    Foreign::of_any_length(char).to_string().chars().eq([char])
}
