//! What the kernel says of itself.

use std::{fs, str::FromStr};

/// The first number or word of a setting, by its path below `/proc/sys`; `None` where there is no such setting, or where it
/// may not be read.
pub(super) fn setting<T: FromStr>(path: &str) -> Option<T> {
    let text = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// All of a setting.
pub(super) fn text(path: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|text| text.trim().to_owned())
}
