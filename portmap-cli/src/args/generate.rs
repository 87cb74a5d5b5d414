//! What is made of the command line's description: completions and the manual page.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use portmap::BoxError;

use super::{Args, help};

/// The script that completes the options in a shell.
pub(crate) fn completions(shell: Shell) -> Result<String, BoxError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "publish", &mut script);
    Ok(String::from_utf8(script)?)
}

/// The manual page: all of it on one, where a page for each command would have to be installed, too.
pub(crate) fn man() -> Result<String, BoxError> {
    let mut page = Vec::new();
    let mut args = Args::command();
    let man = Man::new(args.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    // Else a command's usage would be without the tool's name.
    args.build();
    for command in args.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        writeln!(page, ".SH \"PUBLISH {}\"", command.get_name().to_uppercase())?;
        verbatim(&mut page, &command.render_long_help().to_string())?;
    }
    let examples = help::EXAMPLES.trim_start_matches("Examples:\n");
    for (heading, text) in [("EXIT STATUS", help::STATUS), ("EXAMPLES", examples)] {
        writeln!(page, ".SH \"{heading}\"")?;
        verbatim(&mut page, text)?;
    }
    Ok(String::from_utf8(page)?)
}

/// A text as it is: no line is filled, and none is a command.
fn verbatim(page: &mut Vec<u8>, text: &str) -> Result<(), BoxError> {
    writeln!(page, ".nf")?;
    for line in text.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        writeln!(page, "{guard}{line}")?;
    }
    Ok(writeln!(page, ".fi")?)
}
