//! Takes datagrams.

use std::{io, net::UdpSocket, sync::Arc};

use socket2::SockRef;

use super::{LOOK, Shared, answer::Serve};
use crate::place::PORT;

/// So short a datagram is always answered: it asks whether the way is open.
pub(crate) const PROBE: usize = 8;

/// So that what is lost was lost on the way, not here.
const RECEIVE_BUFFER: usize = 4 << 20;

pub(super) fn serve(shared: Arc<Shared>, echo: bool) -> io::Result<Serve> {
    let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(Box::new(move || {
        let mut buffer = [0; 65_536];
        while !shared.has_ended() {
            let Ok((count, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            if count > PROBE {
                shared.add(1);
            }
            if echo || count <= PROBE {
                // A client that has gone is none of its business.
                let _ = socket.send_to(&buffer[..count], from);
            }
        }
        Ok(())
    }))
}
