//! What is open and idle, and the memory that it costs.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use super::{Run, Values, pings::udp_sockets};
use crate::meter::Memory;

/// What a process needs once, it has after so many.
const FIRST: usize = 100;
/// By then it has come to rest.
const REST: Duration = Duration::from_millis(300);

pub(super) fn connections(run: &Run, count: usize) -> io::Result<Values> {
    let mut open = Vec::new();
    grow(run, count, |more| {
        for _ in 0..more {
            let mut stream = TcpStream::connect(run.target)?;
            // It was used once: what comes of that stays, too.
            stream.write_all(&[0; 64])?;
            stream.read_exact(&mut [0; 64])?;
            open.push(stream);
        }
        Ok(())
    })
}

pub(super) fn sessions(run: &Run, count: usize) -> io::Result<Values> {
    let mut open = Vec::new();
    grow(run, count, |more| {
        for socket in udp_sockets(run, more)? {
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            socket.send(&[0; 64])?;
            socket.recv(&mut [0; 64])?;
            open.push(socket);
        }
        Ok(())
    })
}

fn grow(
    run: &Run,
    count: usize,
    mut open: impl FnMut(usize) -> io::Result<()>,
) -> io::Result<Values> {
    open(FIRST)?;
    thread::sleep(REST);
    let before = run.meter.memory();
    open(count)?;
    thread::sleep(REST);
    Ok(difference(before, run.meter.memory(), count))
}

/// What each of the added ones costs.
pub(crate) fn difference(before: Memory, after: Memory, added: usize) -> Values {
    let each = |before: f64, after: f64| (after - before) / added as f64;
    [
        ("pss", each(before.pss, after.pss)),
        ("private", each(before.private, after.private)),
        ("descriptors", each(before.descriptors, after.descriptors)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
