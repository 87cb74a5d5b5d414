//! Short connections.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::{Run, Values, Window, with_latencies};
use crate::{
    poll::{Flags, Poll},
    stats::Latencies,
};

const SIZE: usize = 64;
/// So many failures are no accident.
const TOO_MANY: usize = 1000;

/// A connection between its first packet and its end.
struct Lane {
    stream: TcpStream,
    begin: Instant,
    asked: bool,
    taken: usize,
}

enum Next {
    Wait,
    Done,
    Failed,
}

impl Lane {
    fn connect(run: &Run, poll: &Poll, token: usize) -> io::Result<Self> {
        let begin = Instant::now();
        let socket = Socket::new(Domain::for_address(run.target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&run.target.into()) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error),
            _ => {}
        }
        let stream = TcpStream::from(socket);
        // Edge by edge: one system call to watch it all its life.
        poll.add(&stream, token, Flags::IN | Flags::OUT | Flags::ET)?;
        Ok(Self { stream, begin, asked: false, taken: 0 })
    }

    fn go_on(&mut self) -> Next {
        if !self.asked {
            match self.stream.write(&[0; SIZE]) {
                Ok(_) => self.asked = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Next::Wait,
                Err(_) => return Next::Failed,
            }
        }
        let mut buffer = [0; SIZE];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) if self.taken == SIZE => return Next::Done,
                Ok(0) => return Next::Failed,
                Ok(taken) => self.taken += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return Next::Failed,
            }
        }
    }
}

const EINPROGRESS: i32 = nix::errno::Errno::EINPROGRESS as i32;

pub(super) fn short(run: &Run, lanes: usize) -> io::Result<Values> {
    let mut poll = Poll::new()?;
    let open = |token| Lane::connect(run, &poll, token);
    let mut lanes = (0..lanes).map(open).collect::<io::Result<Vec<_>>>()?;
    let (mut window, mut latencies, mut failed) = (Window::new(run), Latencies::with_room(), 0);
    let mut ready = Vec::new();
    'open: loop {
        ready.clear();
        ready.extend(poll.wait(Duration::from_millis(20))?);
        for &token in &ready {
            let next = lanes[token].go_on();
            let now = Instant::now();
            match (next, window.counts(now)) {
                (_, None) => break 'open,
                (Next::Wait, _) => continue,
                (Next::Done, Some(true)) => latencies.add(now - lanes[token].begin),
                (Next::Done, Some(false)) => {}
                (Next::Failed, _) => failed += 1,
            }
            lanes[token] = Lane::connect(run, &poll, token)?;
        }
        if window.counts(Instant::now()).is_none() {
            break;
        }
        if failed > TOO_MANY {
            return Err(io::Error::other(format!("{failed} connections failed")));
        }
    }
    let mut values = with_latencies(window.close(latencies.len() as f64), latencies);
    values.insert("failed".to_owned(), failed as f64);
    Ok(values)
}
