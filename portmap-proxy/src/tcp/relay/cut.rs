//! What becomes of a connection that ends before both sides have ended it.
//!
//! One rule for every cut, whoever makes it: **what is complete towards a peer ends in order, and the kernel delivers it; what
//! is not is reset**, so that no peer takes a part for the whole. What can be moved on without waiting is moved on first: behind
//! a slow reader the rest of an answer and its end wait in the kernel. A connection on which nothing is under way
//! is as complete as it can be, and ends in order on both sides.

use std::time::Duration;

use nix::{
    libc,
    sys::socket::{getsockopt, sockopt::GetU8},
};
use rustix::{
    io::{Errno, Result, retry_on_intr},
    net::{
        RecvFlags, SendFlags, Shutdown, recv, send, shutdown,
        sockopt::set_socket_send_buffer_size_force,
    },
};
use tokio::{net::TcpStream, time};

use super::{
    Ending, Relay, Side,
    direction::{BUFFER, Course, Rest},
};
use crate::tcp::connection::Abortive;

/// How much is moved on at most in each direction, in bytes, for nobody else has the thread meanwhile: it takes some
/// milliseconds. More than Linux lets a socket queue by default (`tcp_wmem`, 4 MiB; `tcp_rmem`, 6 MiB).
const MOST: usize = 8 << 20;

/// How long a peer has to take the end of all that was for it before it is reset as the other side was.
const SETTLING: Duration = Duration::from_millis(500);

/// What a direction has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Come {
    /// All was passed on, with its end.
    Complete,
    /// All was passed on before, and nothing more is there.
    AtRest,
    /// Something is lost, or was still coming.
    Short,
}

impl Relay {
    /// Decides how each side ends when it is dropped.
    pub(super) fn end(&mut self) {
        let (up, down) = match self.ending {
            Some(Ending::Closed) => {
                self.client.close_in_order();
                self.endpoint.close_in_order();
                return;
            }
            Some(Ending::Reset(Side::Client)) => (self.finish_lost(Side::Endpoint), Come::Short),
            Some(Ending::Reset(Side::Endpoint)) => (Come::Short, self.finish_lost(Side::Client)),
            _ => (self.finish(Side::Endpoint), self.finish(Side::Client)),
        };
        let at_rest = up != Come::Short && down != Come::Short;
        for (come, side) in [(up, &mut self.endpoint), (down, &mut self.client)] {
            if at_rest || come == Come::Complete {
                close(side);
            }
        }
    }

    /// One side is lost. Gives the other one a moment to take all that was for it: the reset is passed on then, and
    /// does not overtake what it would destroy.
    pub(super) async fn settle(&self, lost: Side) {
        let (course, to) = match lost {
            Side::Client => (&self.up, &self.endpoint),
            Side::Endpoint => (&self.down, &self.client),
        };
        let taken = async {
            let mut pause = Duration::from_millis(1);
            while course.ended && awaits_end(to.get()) {
                time::sleep(pause).await;
                pause *= 2;
            }
        };
        // What was not taken by then is left to the kernel.
        let _ = time::timeout(SETTLING, taken).await;
    }

    /// Moves on what there is for a side, and its end.
    fn finish(&mut self, to: Side) -> Come {
        let ended = self.course(to).ended;
        let come = if ended { Come::Complete } else { self.move_on(to) };
        if come == Come::Complete && !ended && shutdown(self.stream(to), Shutdown::Write).is_err() {
            return Come::Short;
        }
        come
    }

    /// The same where the other side is lost. An end that comes behind an error is none: the kernel tells of the error once.
    fn finish_lost(&mut self, to: Side) -> Come {
        let ended = self.course(to).ended;
        if !ended {
            self.move_on(to);
        }
        if ended && awaits_end(self.stream(to)) { Come::Complete } else { Come::Short }
    }

    /// Moves on what there is for a side, without waiting.
    fn move_on(&mut self, to: Side) -> Come {
        let Ok(held) = self.course(to).take_rest() else { return Come::Short };
        let (from, into) = match to {
            Side::Client => (self.endpoint.get(), self.client.get()),
            Side::Endpoint => (self.client.get(), self.endpoint.get()),
        };
        let pass_on = |bytes: &[u8]| write_all(into, bytes, |taken| self.meter.moved(to, taken));
        if pass_on(&held).is_err() {
            return Come::Short;
        }
        let mut moved = held.len();
        let mut buffer = [0; BUFFER];
        while moved < MOST {
            match retry_on_intr(|| recv(from, &mut buffer, RecvFlags::DONTWAIT)) {
                Ok((0, _)) => return Come::Complete,
                Ok((read, _)) if pass_on(&buffer[..read]).is_ok() => moved += read,
                Err(Errno::AGAIN) if moved == 0 => return Come::AtRest,
                _ => break,
            }
        }
        Come::Short
    }

    fn course(&mut self, to: Side) -> &mut Course {
        match to {
            Side::Client => &mut self.down,
            Side::Endpoint => &mut self.up,
        }
    }

    fn stream(&self, side: Side) -> &TcpStream {
        match side {
            Side::Client => self.client.get(),
            Side::Endpoint => self.endpoint.get(),
        }
    }
}

impl Course {
    /// What was read and not yet written.
    fn take_rest(&mut self) -> std::io::Result<Vec<u8>> {
        match self.rest.take().map(|rest| *rest) {
            Some(Rest::Bytes(bytes)) => Ok(bytes),
            Some(Rest::Piped(pipe)) => pipe.into_bytes(),
            None => Ok(Vec::new()),
        }
    }
}

/// Has the kernel take all of it at once. Where its buffer is full, more is asked for: the bytes are in its memory already, as
/// those of another socket. It takes `CAP_NET_ADMIN`.
fn write_all(to: &TcpStream, mut bytes: &[u8], taken: impl Fn(u64)) -> Result<()> {
    let mut widened = false;
    while !bytes.is_empty() {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match retry_on_intr(|| send(to, bytes, flags)) {
            Ok(written) => {
                taken(written as u64);
                bytes = &bytes[written..];
            }
            Err(Errno::AGAIN) if !widened => {
                // The kernel counts twice that much, with what holds the bytes.
                set_socket_send_buffer_size_force(to, MOST)?;
                widened = true;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Has a side end in order. What it has said and nobody will read any more is thrown away: a socket that is closed with
/// something unread resets its peer, and forgets what was for it.
fn close(side: &mut Abortive) {
    let mut buffer = [0; BUFFER];
    let mut left = MOST;
    while left > 0 {
        match retry_on_intr(|| recv(side.get(), &mut buffer, RecvFlags::DONTWAIT)) {
            Ok((read @ 1.., _)) => left = left.saturating_sub(read),
            _ => break,
        }
    }
    side.close_in_order();
}

/// The state of a connection, which is the first byte of `struct tcp_info`.
#[derive(Clone, Copy, Debug)]
struct TcpState;

nix::getsockopt_impl!(TcpState, libc::IPPROTO_TCP, libc::TCP_INFO, u8, GetU8);

/// Whether a peer that was told of the end has not acknowledged it yet.
fn awaits_end(stream: &TcpStream) -> bool {
    // As `include/net/tcp_states.h` has them.
    const FIN_WAIT_1: u8 = 4;
    const LAST_ACK: u8 = 9;
    const CLOSING: u8 = 11;
    getsockopt(stream, TcpState).is_ok_and(|state| matches!(state, FIN_WAIT_1 | LAST_ACK | CLOSING))
}
