//! Publishes container ports from the command line.
//!
//! ```console
//! $ cargo run --release --example publish -- 8080:80
//! ```
//!
//! `main` reads what is wanted; `proxy` and `rules` are the life of a publish in either way: make what is missing,
//! publish, wait for a signal, release.

mod args;
mod assume;
mod connections;
mod demo;
mod dry_run;
mod ends;
mod output;
mod plan;
mod proxy;
mod rules;
mod sessions;
mod want;

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portmap::BoxError;

use crate::{
    args::{Args, Mode},
    ends::Ends,
    plan::Plan,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::read();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(args.log_filter())
        .with_target(false)
        .init();
    // Two descriptors a connection and one a session: the usual soft limit of 1,024 is soon reached, and raising it is a program's choice.
    if let Err(error) = raise_descriptor_limit() {
        tracing::debug!(%error, "the limit of descriptors stays as it is");
    }
    match publish(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publish: {}", output::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn raise_descriptor_limit() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

async fn publish(args: Args) -> Result<(), BoxError> {
    let plan = Plan::new(&args);
    if args.dry_run {
        return dry_run::show(&args, &plan);
    }
    // Listened to from the start: a signal during set-up takes effect right after it.
    let mut ends = Ends::new()?;
    match args.mode {
        Mode::Proxy => proxy::run(&args, &plan, &mut ends).await,
        Mode::Rules => rules::run(&args, &plan, &mut ends).await,
    }
}
