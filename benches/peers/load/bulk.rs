//! Bulk transfers. Neither end copies or looks at the bytes, so that most of the work is the way's.

use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create, sendfile},
    net::{RecvFlags, recv},
};

use super::{Run, Values, Window};

const PIECE: usize = 1 << 20;

/// Sends until the other side goes.
pub(crate) fn fill(stream: &TcpStream) -> io::Result<()> {
    let file = memfd_create("bulk", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, PIECE as u64)?;
    loop {
        sendfile(stream, &file, Some(&mut 0), PIECE)?;
    }
}

/// Takes bytes until they end, by having the kernel drop them.
pub(crate) fn drain(stream: &TcpStream, mut count: impl FnMut(usize)) -> io::Result<()> {
    let mut buffer = vec![0_u8; PIECE];
    loop {
        match recv(stream, &mut buffer[..], RecvFlags::TRUNC)? {
            (_, 0) => return Ok(()),
            (_, taken) => count(taken),
        }
    }
}

pub(super) fn download(run: &Run, streams: usize) -> io::Result<Values> {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    transfer(
        run,
        streams,
        move || taken.load(Ordering::Relaxed),
        move |stream| drain(stream, |count| _ = counter.fetch_add(count as u64, Ordering::Relaxed)),
    )
}

pub(super) fn upload(run: &Run, streams: usize) -> io::Result<Values> {
    let arrived = run.arrived.clone();
    transfer(run, streams, move || arrived.count(), fill)
}

fn transfer(
    run: &Run,
    streams: usize,
    carried: impl Fn() -> u64,
    work: impl Fn(&TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<Values> {
    let mut open = Vec::new();
    for _ in 0..streams {
        let stream = TcpStream::connect(run.target)?;
        let (inside, work) = (stream.try_clone()?, work.clone());
        open.push((stream, thread::spawn(move || work(&inside))));
    }
    thread::sleep(run.warm);
    let window = Window::opened(run);
    let before = carried();
    thread::sleep(run.window);
    let values = window.close((carried() - before) as f64);
    for (stream, thread) in open {
        // It may be gone already; its thread ends either way.
        let _ = stream.shutdown(Shutdown::Both);
        let _ = thread.join();
    }
    Ok(values)
}
