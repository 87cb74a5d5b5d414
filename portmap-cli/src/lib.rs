//! The tool `publish`: publishes container ports from the command line.
//!
//! ```console
//! $ cargo run --release --example publish -- 8080:80
//! ```
//!
//! [`main`] reads the command line; `proxy`, `rules` and `hybrid` are the life of a publish in each mode: make what is
//! missing, publish, wait for a signal, release; `published` is what they have in common. `monitor` tells what happens
//! meanwhile.

mod all;
mod args;
mod assume;
mod capability;
mod check;
mod choice;
mod demo;
mod docker;
mod doctor;
mod dry_run;
mod ends;
mod explain;
mod hybrid;
mod limits;
mod log;
mod monitor;
mod nat;
mod output;
mod plan;
mod proxy;
mod published;
mod remedy;
mod rules;
mod target;
mod want;
mod who;

use std::{env, process::ExitCode};

use portmap::BoxError;

use crate::{
    args::{Args, Command, Mode, completions, man},
    choice::Choice,
    ends::Ends,
    monitor::Monitor,
    plan::Plan,
    target::{HELPER, help},
};

/// Runs the tool with this process's arguments, and returns its exit status.
///
/// Call it before the process has a second thread: a helper process of the tool enters a user namespace, which only a
/// process with a single thread may.
pub fn main() -> ExitCode {
    // Before there is a second thread.
    let mut words = env::args().skip(1);
    if words.next().as_deref() == Some(HELPER) {
        let helped = help(&words.next().unwrap_or_default());
        return helped.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    run(&Args::read())
}

#[tokio::main]
async fn run(args: &Args) -> ExitCode {
    let (monitor, printer) = Monitor::start(args.style());
    log::start(args, &monitor);
    let done = match &args.command {
        Some(command) => other(command).await,
        None => publish(args, &monitor).await.map(|()| ExitCode::SUCCESS).map_err(remedy::explain),
    };
    printer.finish();
    done.unwrap_or_else(|error| output::fail(&error))
}

async fn publish(args: &Args, monitor: &Monitor) -> Result<(), BoxError> {
    // Listened to from the start: a signal that comes while things are being set up takes effect right after that.
    let mut ends = Ends::new()?;
    let plan = tokio::select! {
        plan = Plan::find(args) => plan?,
        // Docker can take long to answer, and nothing is done yet.
        () = ends.wait() => return Ok(()),
    };
    let choice = Choice::of(args, &plan);
    check::check(args, &plan, choice.mode)?;
    if args.dry_run {
        return dry_run::show(args, &plan, &choice);
    }
    if args.explain {
        return explain::show(args, &plan, &choice);
    }
    limits::raise();
    if choice.mode != Mode::Proxy {
        let routed = assume::routed(&plan.networks(args.networks()), &plan.named());
        routed.into_iter().for_each(|line| monitor.note(line));
    }
    match choice.mode {
        Mode::Hybrid => hybrid::run(args, &plan, &choice, monitor, &mut ends).await,
        Mode::Proxy => {
            choice.tell(monitor);
            proxy::run(args, &plan, monitor, &mut ends).await
        }
        Mode::Rules => rules::run(args, &plan, monitor, &mut ends).await,
    }
}

async fn other(command: &Command) -> Result<ExitCode, BoxError> {
    match command {
        Command::Who { questions } => Ok(who::answer(questions).await?),
        Command::Doctor { wants, json } => {
            let specs: Vec<_> = wants.iter().map(|want| want.spec.clone()).collect();
            doctor::examine(&specs, *json).await
        }
        Command::Completions { shell } => printed(&completions(*shell)?),
        Command::Man => printed(&man()?),
    }
}

fn printed(text: &str) -> Result<ExitCode, BoxError> {
    Ok(output::print(text).map(|()| ExitCode::SUCCESS)?)
}
