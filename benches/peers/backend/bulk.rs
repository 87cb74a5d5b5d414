//! The ends of bulk transfers, with a thread a connection.

use std::{io, net::TcpStream, sync::Arc, thread};

use super::{
    Shared,
    answer::{Serve, listen},
};
use crate::load::bulk::{drain, fill};

pub(super) fn source(shared: Arc<Shared>) -> io::Result<Serve> {
    each(shared, |stream, _| fill(stream))
}

pub(super) fn sink(shared: Arc<Shared>) -> io::Result<Serve> {
    each(shared, |stream, shared| drain(stream, |count| shared.add(count as u64)))
}

/// The threads end with their connections, which the client ends.
fn each(
    shared: Arc<Shared>,
    work: impl Fn(&TcpStream, &Shared) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<Serve> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    Ok(Box::new(move || {
        while !shared.has_ended() {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(std::time::Duration::from_millis(1));
                continue;
            };
            stream.set_nonblocking(false)?;
            let (work, shared) = (work.clone(), Arc::clone(&shared));
            // A client that goes in the middle is how a transfer ends here.
            thread::spawn(move || work(&stream, &shared));
        }
        Ok(())
    }))
}
