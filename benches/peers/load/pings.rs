//! Round trips of 64 bytes, one at a time on each connection or socket.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, UdpSocket},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use super::{Run, Values, Window, with_latencies};
use crate::{
    poll::{Flags, Poll},
    stats::Latencies,
};

const SIZE: usize = 64;
/// A datagram that is not back by then is lost, and is sent again.
const LOST: Duration = Duration::from_millis(100);

pub(super) fn tcp(run: &Run, connections: usize) -> io::Result<Values> {
    let connect = || {
        let stream = TcpStream::connect(run.target)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let lanes = (0..connections).map(|_| connect()).collect::<io::Result<Vec<_>>>()?;
    pings(run, &lanes, None)
}

pub(super) fn udp(run: &Run, sockets: usize) -> io::Result<Values> {
    let lanes = udp_sockets(run, sockets)?;
    pings(run, &lanes, Some(LOST))
}

pub(super) fn udp_sockets(run: &Run, count: usize) -> io::Result<Vec<UdpSocket>> {
    let bind = || {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(run.target)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    (0..count).map(|_| bind()).collect()
}

/// What sends and receives.
trait Lane: AsFd {
    fn put(&self, bytes: &[u8]) -> io::Result<usize>;
    fn take(&self, bytes: &mut [u8]) -> io::Result<usize>;
}

impl Lane for TcpStream {
    fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn take(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match (&*self).read(bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

impl Lane for UdpSocket {
    fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }

    fn take(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.recv(bytes)
    }
}

fn pings<L: Lane>(run: &Run, lanes: &[L], lost: Option<Duration>) -> io::Result<Values> {
    let mut poll = Poll::new()?;
    let begin = Instant::now();
    // When its datagram was sent first, and last.
    let mut sent = vec![(begin, begin); lanes.len()];
    let mut missing = vec![SIZE; lanes.len()];
    for (number, lane) in lanes.iter().enumerate() {
        poll.add(lane, number, Flags::IN)?;
        lane.put(&[0; SIZE])?;
    }
    let (mut window, mut latencies, mut again) = (Window::new(run), Latencies::with_room(), 0.0);
    let mut looked = begin;
    let mut buffer = [0; SIZE];
    'open: loop {
        let mut counts = false;
        for number in poll.wait(Duration::from_millis(20))? {
            let taken = match lanes[number].take(&mut buffer) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // Nobody was there for an earlier datagram.
                Err(error)
                    if lost.is_some() && error.kind() == io::ErrorKind::ConnectionRefused =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            missing[number] -= taken;
            if missing[number] > 0 {
                continue;
            }
            let now = Instant::now();
            counts = match window.counts(now) {
                Some(counts) => counts,
                None => break 'open,
            };
            if counts {
                latencies.add(now - sent[number].0);
            }
            lanes[number].put(&buffer)?;
            (sent[number], missing[number]) = ((now, now), SIZE);
        }
        let now = Instant::now();
        if window.counts(now).is_none() {
            break;
        }
        let Some(lost) = lost.filter(|_| now - looked > LOST / 4) else {
            continue;
        };
        looked = now;
        for (lane, (_, last)) in lanes.iter().zip(&mut sent) {
            if now - *last > lost {
                // A full queue is one more loss.
                let _ = lane.put(&buffer);
                *last = now;
                again += f64::from(u8::from(counts));
            }
        }
    }
    let trips = latencies.len() as f64;
    let mut values = with_latencies(window.close(trips), latencies);
    if lost.is_some() && trips > 0.0 {
        values.insert("lost".to_owned(), again);
    }
    Ok(values)
}
