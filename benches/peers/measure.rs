//! One peer under one load, and all of them in turn.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal, Write},
    time::Duration,
};

use portmap::BoxError;
use tokio::time::timeout;

use crate::{
    backend::Backend,
    costs,
    groups::Group,
    load::{Load, Run, Values},
    options::Options,
    peer::Peer,
    place::Place,
    record::GroupRecord,
};

/// A run that takes so long hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Runs each load of a group for each peer, as often as asked. A repetition has every peer once, in random order and
/// freshly started, so that what is compared was measured within seconds.
pub(crate) async fn group(group: &Group, options: &Options) -> Result<GroupRecord, BoxError> {
    let mut record = GroupRecord::new(options)?;
    let concerns = |peer: &Peer| group.cells.iter().any(|(_, load)| peer.carries(*load));
    for peer in options.peers().into_iter().filter(concerns) {
        if let Some(reason) = peer.missing() {
            eprintln!("left out: {reason}");
            record.missing.push(reason);
        }
    }
    for repetition in 0..options.repetitions() {
        for (cell, load) in group.cells {
            let able = |peer: &Peer| peer.carries(*load) && peer.missing().is_none();
            for peer in shuffled(options.peers().into_iter().filter(able).collect()) {
                progress(&format!("{} {}: {cell}, {}", group.name, repetition + 1, peer.name()));
                let values = match measure(peer, *load, options).await {
                    Ok(values) => Some(values),
                    Err(error) => {
                        eprintln!("{}, {cell}: {error}", peer.name());
                        None
                    }
                };
                record.add(cell, peer, repetition, values);
            }
        }
    }
    progress("");
    Ok(record)
}

async fn measure(peer: Peer, load: Load, options: &Options) -> Result<Values, BoxError> {
    match load {
        Load::Ports(protocol) => return costs::ports(peer, protocol).await,
        Load::Publish(ports) => return costs::publish(peer, ports).await,
        _ => {}
    }
    let place = Place::new().await?;
    let backend = Backend::start(place.container(), load.role()).await?;
    let running = peer.start(&place, load.protocol(), 1).await?;
    let run = Run {
        target: running.target,
        arrived: backend.arrived(),
        meter: running.working_meter(peer),
        warm: options.warm(),
        window: options.window(),
    };
    let done = place.on_client(move || {
        load.wait(run.target)?;
        load.run(&run)
    });
    match timeout(LIMIT, done).await {
        Ok(Ok(Ok(values))) => Ok(values),
        Ok(Ok(Err(error))) => Err(format!("{error} {}", running.complaints()).into()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(format!("nothing came of it in {LIMIT:?}").into()),
    }
}

/// By the seed that each hash map gets.
fn shuffled(mut peers: Vec<Peer>) -> Vec<Peer> {
    let random = RandomState::new();
    peers.sort_by_cached_key(|peer| random.hash_one(peer.name()));
    peers
}

/// Shows what is going on, on one line of standard error, if that is a terminal.
fn progress(line: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{line:60}\r");
        // Nobody looks, then.
        let _ = io::stderr().flush();
    }
}
