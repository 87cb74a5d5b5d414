//! Publishes container ports from the command line.
//!
//! ```console
//! $ cargo run --release --example publish -- 8080:80
//! ```
//!
//! `main` is the life of a publish: find the target, publish, wait for a signal, release.

mod args;
mod connections;
mod output;
mod sessions;
mod target;

use std::{error::Error, process::ExitCode};

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portmap::{PortMapper, ProxyMapper};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{args::Args, output::say, target::Target};

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
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
    // Listened to from the start: a signal during set-up takes effect right after it.
    let mut ends = Ends::new()?;
    let target = Target::find(&args).await?;
    let served = serve(&args, &target, &mut ends).await;
    let removed = target.remove().await;
    served.and(removed)
}

async fn serve(args: &Args, target: &Target, ends: &mut Ends) -> Result<(), BoxError> {
    let mapper = match args.mode {
        args::Mode::Proxy => {
            let mapper = ProxyMapper::new().drain_limit(args.drain_limit());
            mapper.layer(connections::report()).session_layer(connections::report())
        }
    };
    let lease = mapper.publish(target.request(args)?).await?;
    say(target);
    say(output::Table(lease.bindings()));
    say("Ctrl-C ends it.");

    ends.wait().await;
    tokio::select! {
        released = lease.release() => Ok(released?),
        // Asked twice: whoever is still connected is reset.
        () = ends.wait() => Ok(()),
    }
}

/// The signals that end the program in order.
struct Ends([Signal; 3]);

impl Ends {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
