//! What is printed, and how. Nothing here panics: both streams can be full, or lead to somebody who has gone.

mod json;
mod table;

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    io::{self, Write, stderr, stdout},
    process::ExitCode,
};

use portmap::{BoxError, Foreign};

pub(crate) use self::{
    json::json,
    table::{Bytes, Columns, Table},
};

/// Prints a line of what goes on, or several. Where nobody reads any more, that is no reason to end.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(stdout().lock(), "{}", shown(&line.to_string()));
}

/// Prints what was asked for, a text that ends its lines itself. Unlike [`say`] there is nothing else to be done, so what
/// nobody can read has failed.
pub(crate) fn print(text: impl Display) -> Result<(), Unwritable> {
    let mut output = stdout().lock();
    // Now, while somebody can be told: at the end of the process a failure would be lost.
    write!(output, "{}", shown(&text.to_string())).and_then(|()| output.flush()).map_err(Unwritable)
}

/// Says something on standard error, the only way that this is done: `eprintln` would panic where that cannot be written.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(stderr().lock(), "publish: {}", shown(&line.to_string()));
}

/// Lines as a terminal is given them, tabs and all. Names and words of others are in many (processes, interfaces, chains, what
/// Docker says), and nothing that is printed for a person goes another way.
pub(crate) fn shown(text: &str) -> String {
    let parts = text.split_inclusive(['\n', '\t']).map(|part| {
        let end = part.strip_suffix(['\n', '\t']).map_or(part.len(), str::len);
        format!("{}{}", Foreign::of_any_length(&part[..end]), &part[end..])
    });
    parts.collect()
}

/// Says what went wrong. Of a reader who has read enough, `head` say, nothing has to be said.
pub(crate) fn fail(error: &BoxError) -> ExitCode {
    let is_enough = |unwritable: &Unwritable| unwritable.0.kind() == io::ErrorKind::BrokenPipe;
    if !error.downcast_ref::<Unwritable>().is_some_and(is_enough) {
        complain(chain(error.as_ref()));
    }
    ExitCode::FAILURE
}

/// Standard output does not take what was asked for.
#[derive(Debug)]
pub(crate) struct Unwritable(io::Error);

impl Display for Unwritable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("standard output cannot be written")
    }
}

impl Error for Unwritable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// An error and its causes on one line, each said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.ends_with(&said) {
            line = format!("{line}: {said}");
        }
        cause = error.source();
    }
    // A tool's own words may have several.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
