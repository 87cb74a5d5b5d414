//! Running the tools.

use std::{
    fs::File,
    io::{self, PipeWriter, Read as _, Seek as _, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::{
    errno::Errno,
    libc::MFD_NOEXEC_SEAL,
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::{SigSet, SigmaskHow, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::{IptablesError, lock_file};
use crate::authors::Authors;

/// How long to wait for the lock of the legacy variant, in seconds: longer than anybody's commit takes.
const PATIENCE: &str = "10";

/// Has `iptables-restore` make changes, and leave alone what they don't name.
pub(super) fn restore(tool: &Path, input: &str, authors: &Authors) -> Result<(), IptablesError> {
    let mut command = command(tool);
    command.args(["--noflush", "--wait", PATIENCE]).stdout(Stdio::null());
    let output = feed(command, input.as_bytes(), authors);
    let output = output.map_err(|source| IptablesError::Run { tool: tool.to_owned(), source })?;
    if output.status.success() { Ok(()) } else { Err(refused(tool, &output, input)) }
}

/// Runs a tool that reads `input`, and gives what it says to its standard error.
///
/// Its standard input is a pipe: SELinux may put `/dev/null` in the place of a socket, by which a tool would be told to do
/// nothing, and succeed. It is given nothing to do before it is known as an author. What it says goes to memory: it may say
/// much before it has read all, and nobody reads meanwhile.
fn feed(mut command: Command, input: &[u8], authors: &Authors) -> io::Result<Output> {
    let (theirs, ours) = io::pipe()?;
    let mut said = memory_file()?;
    let spawned = command.stdin(theirs).stderr(said.try_clone()?).spawn();
    // It has the other end too. As long as anybody has, a tool that has ended is not seen to.
    drop(command);
    let mut child = spawned?;
    authors.add(child.id());
    // Not before it is started: it would inherit what is blocked.
    without_sigpipe(|| write(ours, input));
    let status = child.wait()?;
    let mut stderr = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut stderr)?;
    Ok(Output { status, stdout: Vec::new(), stderr })
}

/// Writes all of it, or as much as is read: a tool that stops reading says why.
fn write(mut pipe: PipeWriter, input: &[u8]) {
    let _ = pipe.write_all(input);
}

/// Does something on this thread that may raise SIGPIPE, and has nobody hear of it: it ends a process whose author has not
/// thought of it.
fn without_sigpipe<T>(body: impl FnOnce() -> T) -> T {
    let mut sigpipe = SigSet::empty();
    sigpipe.add(Signal::SIGPIPE);
    let before = sigpipe.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let done = body();
    // Where that fails it stays blocked, on this thread.
    if let Ok(before) = before
        && take_pending(&sigpipe).is_ok()
    {
        let _ = before.thread_set_mask();
    }
    done
}

/// Takes signals that wait until they are no longer blocked.
fn take_pending(signals: &SigSet) -> nix::Result<()> {
    let pending = SignalFd::with_flags(signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    while pending.read_signal()?.is_some() {}
    Ok(())
}

/// A file without a name, in memory.
fn memory_file() -> io::Result<File> {
    // Of one that may not be run Linux 6.3 logs nothing; older kernels don't know the flag.
    let sealed = MFdFlags::MFD_CLOEXEC | MFdFlags::from_bits_retain(MFD_NOEXEC_SEAL);
    let file = match memfd_create(c"portmap", sealed) {
        Err(Errno::EINVAL) => memfd_create(c"portmap", MFdFlags::MFD_CLOEXEC),
        made => made,
    };
    Ok(File::from(file?))
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
    use nix::sys::signal::{SigHandler, signal};

    use super::*;

    /// As much as no pipe or socket takes at once.
    fn long_input() -> String {
        "-A FORWARD -j ACCEPT\n".repeat(100_000)
    }

    fn run(script: &str, input: &str) -> io::Result<Output> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        feed(command, input.as_bytes(), &Authors::default())
    }

    /// The tests' main function has SIGPIPE ignored; so it takes a process in which it ends one.
    #[test]
    fn a_tool_that_ends_before_it_has_read_all_raises_no_signal() {
        const CHILD: &str = "PORTMAP_TEST_SIGPIPE";
        const NAME: &str =
            "iptables::run::tests::a_tool_that_ends_before_it_has_read_all_raises_no_signal";
        if std::env::var_os(CHILD).is_none() {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let child = child.args(["--exact", NAME]).env(CHILD, "1");
            let output = child.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
            return;
        }
        #[expect(
            unsafe_code,
            reason = "how a signal is dealt with is the process's, and this one's"
        )]
        // SAFETY: the default action is no function that could do anything wrong.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.unwrap();
        for script in ["echo no >&2; exit 3", "exec <&-; echo no >&2; exit 3", "read line; exit 3"]
        {
            let output = run(script, &long_input()).unwrap();
            assert_eq!(output.status.code(), Some(3));
            assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGPIPE));
        }
    }

    #[test]
    fn a_tool_reads_a_pipe_and_has_no_signal_blocked() {
        let script = "for _ in 1 2; do cat >/dev/null; done\n\
                      test -p /dev/stdin && grep SigBlk: /proc/self/status >&2";
        for _ in 0..2 {
            let output = run(script, &long_input()).unwrap();
            assert!(output.status.success());
            assert_eq!(output.stderr, b"SigBlk:\t0000000000000000\n");
        }
    }

    #[test]
    fn a_tool_that_says_much_before_it_reads_is_heard_and_read_to_the_end() {
        let script = "seq 100000 >&2; wc -c >&2";
        let output = run(script, &long_input()).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success());
        assert_eq!(said.lines().count(), 100_001);
        assert_eq!(said.lines().last(), Some(long_input().len().to_string().as_str()));
    }

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
