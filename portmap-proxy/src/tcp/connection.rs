//! An accepted connection.

use std::{io, net::SocketAddr, sync::Arc};

use portmap_core::{Binding, Port};
use tokio::net::TcpStream;

use crate::{
    spare::Spare,
    watch::{Counters, Meter, Progress, spans},
};

/// A client's connection to a published port: what the layers around [`Forward`](crate::Forward) get.
///
/// **Dropping it resets the client**: a layer that turns a connection away needs to do no more. One that
/// answers the client itself writes to [`stream`](Self::stream) and then calls [`close`](Self::close).
#[derive(Debug)]
pub struct Connection {
    stream: Abortive,
    client: SocketAddr,
    container_port: Port,
    /// Held in place of the descriptor that dialling takes.
    spare: Spare,
    meter: Arc<Meter>,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        client: SocketAddr,
        container_port: Port,
        spare: Spare,
        counters: Arc<Counters>,
    ) -> Self {
        let client = canonical(client);
        let span = spans::connection(client, || stream.local_addr().map(canonical).ok());
        let meter = Meter::new(counters, span);
        Self { stream: Abortive::new(stream), client, container_port, spare, meter }
    }

    /// The client's address, never v4-mapped.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// The container's port that it is for.
    pub fn container_port(&self) -> Port {
        self.container_port
    }

    /// What it came by, as it was published: after a [retarget](portmap_core::Lease::retarget) the dial knows better where it leads.
    pub fn binding(&self) -> &Binding {
        self.meter.binding()
    }

    /// The host address and port that the client used, never v4-mapped.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get().local_addr().map(canonical)
    }

    /// The stream, for a layer that talks to the client itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    /// Closes the connection in the ordinary way instead of resetting it.
    pub fn close(mut self) {
        self.stream.close_in_order();
    }

    /// What it has carried, to be read while it runs.
    pub fn progress(&self) -> Progress {
        self.meter.progress()
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    pub(crate) fn into_parts(self) -> (Abortive, Spare, Arc<Meter>) {
        (self.stream, self.spare, self.meter)
    }
}

/// A stream that is reset when it is dropped, unless [`close_in_order`](Self::close_in_order) was called.
///
/// So a connection that never reached its container, for whatever error or cancellation, does not look served.
#[derive(Debug)]
pub(crate) struct Abortive {
    stream: TcpStream,
    reset: bool,
}

impl Abortive {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, reset: true }
    }

    pub(crate) fn get(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn get_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Has it end in order when it is dropped: the kernel delivers what was written, and then the end.
    pub(crate) fn close_in_order(&mut self) {
        self.reset = false;
    }
}

impl Drop for Abortive {
    fn drop(&mut self) {
        if self.reset {
            // Fails only where the socket is dead already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// A dual-stack socket has IPv4 peers as `::ffff:192.0.2.1`; nobody should see that.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip if ip == addr.ip() => addr,
        v4 => SocketAddr::new(v4, addr.port()),
    }
}
