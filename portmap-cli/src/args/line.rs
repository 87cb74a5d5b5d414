//! Reading the command line.

use std::{
    io::{Write, stderr},
    process,
};

use clap::{
    CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Args;
use crate::output;

impl Args {
    /// Reads the command line; where that makes no sense, says why and ends the process.
    pub(crate) fn read() -> Self {
        let read = with_pasted(Self::command()).try_get_matches();
        let args = read.and_then(|matches| Self::from_arg_matches(&matches));
        let args = args.unwrap_or_else(|error| end(&in_our_words(error)));
        if args.command.is_none()
            && let Err(message) = args.check()
        {
            end(&Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        args
    }
}

/// Lets `doctor` have what a publish may be given, and look at none of it: the words of one that failed are pasted behind it.
fn with_pasted(command: clap::Command) -> clap::Command {
    let options = command.get_arguments().filter(|arg| !arg.is_positional()).cloned();
    let options: Vec<_> = options.map(|option| option.hide(true)).collect();
    command.mut_subcommand("doctor", |doctor| {
        let own: Vec<_> = doctor.get_arguments().map(|arg| arg.get_id().clone()).collect();
        doctor.args(options.into_iter().filter(|option| !own.contains(option.get_id())))
    })
}

/// What clap complains of, or better advice than its own, which is `-- -p`.
fn in_our_words(error: clap::Error) -> clap::Error {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if ["-p", "--publish"].contains(&option.as_str()) => {
            let message = format!("no {option} here, the SPEC alone: publish 8080:80");
            Args::command().error(ErrorKind::UnknownArgument, message)
        }
        _ => error,
    }
}

/// Prints what clap has to say, help or a complaint, and ends the process: by 1 where help was asked for and cannot be printed,
/// where clap's own way would be 0.
fn end(error: &clap::Error) -> ! {
    let said = error.render().to_string();
    let printed = match output::shown(&said) {
        // It quotes words of the command line, which can be others': a script's, say.
        shown if shown != said => {
            let _ = write!(stderr().lock(), "{shown}");
            Ok(())
        }
        _ => error.print(),
    };
    let status = match (printed, error.exit_code()) {
        (Err(_), 0) => 1,
        (_, status) => status,
    };
    process::exit(status)
}
