//! Running the tools.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{IptablesError, lock_file};
use crate::backend::authors::Authors;

/// How long to wait for the lock of the legacy variant, in seconds: longer than anybody's commit takes.
const PATIENCE: &str = "10";

/// Has `iptables-restore` make changes, and leave alone what they don't name.
pub(super) fn restore(tool: &Path, input: &str, authors: &Authors) -> Result<(), IptablesError> {
    let output = whole(input).and_then(|input| {
        let child = command(tool)
            .args(["--noflush", "--wait", PATIENCE])
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        authors.add(child.id());
        child.wait_with_output()
    });
    let output = output.map_err(|source| IptablesError::Run { tool: tool.to_owned(), source })?;
    if output.status.success() { Ok(()) } else { Err(refused(tool, &output, input)) }
}

/// A file in memory with a program's input. A pipe would need a second thread that writes: a tool may stop reading, and say
/// much before it has read all; and where no thread is to be had nothing could be withdrawn any more.
fn whole(input: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"iptables-restore", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Has `iptables-save` print all tables.
pub(super) fn save(tool: &Path) -> Result<String, IptablesError> {
    let output = command(tool).stdin(Stdio::null()).output();
    let output = output.map_err(|source| IptablesError::Run { tool: tool.to_owned(), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(refused(tool, &output, ""))
    }
}

fn command(tool: &Path) -> Command {
    let mut command = Command::new(tool);
    if let Some(file) = lock_file::elsewhere() {
        command.env(lock_file::VARIABLE, file);
    }
    command
}

fn refused(tool: &Path, output: &Output, input: &str) -> IptablesError {
    let said = String::from_utf8_lossy(&output.stderr);
    let line = number(&said).and_then(|number| input.lines().nth(number.checked_sub(1)?));
    IptablesError::Refused {
        tool: tool.to_owned(),
        line: line.map(str::to_owned),
        said: reason(&said),
        code: output.status.code(),
    }
}

/// What the tool said, in one line, without warnings and advice.
fn reason(said: &str) -> String {
    let advice = ["#", "Try `", "Error occurred at line"];
    let lines = said.lines().map(str::trim);
    let lines = lines.filter(|line| !advice.iter().any(|start| line.starts_with(start)));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
}

/// The line of the input that the tool means: `Error occurred at line: 3`, `line 2 failed`, or `line 4: RULE_APPEND
/// failed`.
fn number(said: &str) -> Option<usize> {
    said.split("line").skip(1).find_map(|rest| {
        let rest = rest.trim_start_matches([':', ' ']);
        rest[..rest.find(|char: char| !char.is_ascii_digit())?].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_line_is_found_however_it_is_named() {
        let cases = [
            ("unknown option \"--blah\"\nError occurred at line: 3\nTry `iptables-restore -h'", 3),
            ("iptables-restore: line 12 failed: No chain/target/match by that name.\n", 12),
            ("iptables-restore v1.8.9 (nf_tables): \nline 4: RULE_APPEND failed (No such file)", 4),
        ];
        for (said, line) in cases {
            assert_eq!(number(said), Some(line), "{said}");
        }
        assert_eq!(number("a command-line error"), None);
        assert_eq!(reason(cases[0].0), "unknown option \"--blah\"");
        assert_eq!(reason("# Warning: legacy tables\n"), "nothing");
    }
}
