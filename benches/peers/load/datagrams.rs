//! Datagrams that nobody waits for.

use std::{
    io,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};

use super::{Run, Values, Window, pings::udp_sockets};

/// What one send of the segmenting sender carries.
const SEGMENT: i32 = 1200;
const SEGMENTS: usize = 40;
const EACH: Duration = Duration::from_millis(1);
/// After so long a silence nothing more comes of a burst.
const SILENCE: Duration = Duration::from_millis(300);

fn socket(run: &Run) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(run.target)?;
    Ok(socket)
}

/// Runs one step again and again, and counts what arrives.
fn count(run: &Run, mut step: impl FnMut()) -> Values {
    let (mut window, mut before) = (Window::new(run), None);
    while let Some(counts) = window.counts(Instant::now()) {
        if counts && before.is_none() {
            before = Some(run.arrived.count());
        }
        step();
    }
    let arrived = run.arrived.count();
    window.close((arrived - before.unwrap_or(arrived)) as f64)
}

pub(super) fn flood(run: &Run) -> io::Result<Values> {
    let (socket, mut sent) = (socket(run)?, 0_u64);
    let begin = Instant::now();
    let mut values = count(run, || {
        for _ in 0..32 {
            sent += u64::from(socket.send(&[0; 64]).is_ok());
        }
    });
    values.insert("offered".to_owned(), sent as f64 / begin.elapsed().as_secs_f64());
    Ok(values)
}

pub(super) fn segments(run: &Run) -> io::Result<Values> {
    let socket = socket(run)?;
    setsockopt(&socket, UdpGsoSegment, &SEGMENT)?;
    let bytes = [0; SEGMENT as usize * SEGMENTS];
    let (mut next, mut sent) = (Instant::now(), 0_usize);
    let before = run.arrived.count();
    let mut values = count(run, || {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += EACH;
        sent += if socket.send(&bytes).is_ok() { SEGMENTS } else { 0 };
    });
    thread::sleep(Duration::from_millis(20));
    let lost = 1.0 - (run.arrived.count() - before) as f64 / sent as f64;
    values.insert("lost".to_owned(), lost * 100.0);
    Ok(values)
}

pub(super) fn burst(run: &Run, count: usize) -> io::Result<Values> {
    let sockets = udp_sockets(run, count)?;
    for socket in &sockets {
        socket.send(&[0; 64])?;
    }
    let mut back = vec![false; count];
    let mut heard = Instant::now();
    while heard.elapsed() < SILENCE && back.contains(&false) {
        for (socket, back) in sockets.iter().zip(&mut back).filter(|(_, back)| !**back) {
            if socket.recv(&mut [0; 64]).is_ok() {
                (*back, heard) = (true, Instant::now());
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    let lost = back.iter().filter(|back| !**back).count();
    Ok([("lost".to_owned(), lost as f64)].into())
}
