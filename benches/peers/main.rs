//! Published ports beside other programs that publish them: `cargo bench --bench peers`.
//!
//! A load generator, a container's server and the peers run in network namespaces of their own, as root or in a user
//! namespace. `-- --help` lists what can be chosen.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod backend;
mod costs;
mod goals;
mod groups;
mod load;
mod measure;
mod meter;
mod options;
mod peer;
mod place;
mod poll;
mod record;
mod report;
mod stats;

use std::{env, fs, path::Path, process::ExitCode};

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portmap::BoxError;
use portmap_testkit::enter;
use tokio::runtime::Builder;

use options::Options;
use record::Record;

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    if let Some((peer::SERVE, rest)) =
        args.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return peer::serve(rest);
    }
    let options = Options::parse();
    if let Err(error) = enter() {
        eprintln!("skipped: no network namespaces: {error}");
        return ExitCode::SUCCESS;
    }
    match begin(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn begin(options: &Options) -> Result<(), BoxError> {
    // Every peer inherits it, too.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Builder::new_current_thread().enable_all().build()?.block_on(run(options))
}

async fn run(options: &Options) -> Result<(), BoxError> {
    let mut record = Record::default();
    for group in options.groups() {
        let measured = measure::group(group, options).await?;
        report::print(group, &measured);
        record.groups.insert(group.name.to_owned(), measured);
    }
    report::print_goals(&record);
    if let Some(path) = &options.json {
        fs::write(path, record.to_json()?)?;
    }
    if options.write {
        report::write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs"), record)?;
    }
    Ok(())
}
