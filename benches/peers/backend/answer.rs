//! Sends back what comes over TCP, for many connections on one thread.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use socket2::SockRef;

use super::{LOOK, Shared};
use crate::{
    place::PORT,
    poll::{Flags, Poll},
};

pub(super) type Serve = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// The token of the listener; connections count up from 0.
const LISTENER: usize = usize::MAX;

/// A listener whose backlog takes a burst of clients.
pub(super) fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("0.0.0.0", PORT))?;
    SockRef::from(&listener).listen(4096)?;
    Ok(listener)
}

/// Closes after the first answer, where it should: then it is the container that closes first, as a web server without
/// keep-alive does, and no client's port is left in TIME_WAIT.
pub(super) fn serve(shared: Arc<Shared>, once: bool) -> io::Result<Serve> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    Ok(Box::new(move || {
        let mut poll = Poll::new()?;
        poll.add(&listener, LISTENER, Flags::IN)?;
        let mut streams: HashMap<usize, TcpStream> = HashMap::new();
        let mut next = 0;
        let mut ready = Vec::new();
        while !shared.has_ended() {
            ready.clear();
            ready.extend(poll.wait(LOOK)?);
            for &token in &ready {
                if token != LISTENER {
                    if streams.get(&token).is_some_and(|stream| answer(stream, once)) {
                        streams.remove(&token);
                    }
                    continue;
                }
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    // Its request is commonly there.
                    if !answer(&stream, once) {
                        poll.add(&stream, next, Flags::IN)?;
                        streams.insert(next, stream);
                        next += 1;
                    }
                }
            }
        }
        Ok(())
    }))
}

/// Whether the connection is done with.
fn answer(mut stream: &TcpStream, once: bool) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => true,
        Ok(count) => stream.write_all(&buffer[..count]).is_err() || once,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}
