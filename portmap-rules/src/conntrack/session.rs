//! The thread's side.

use std::{io, mem, net::IpAddr};

use nix::errno::Errno;
use portmap_core::{Binding, Port, Protocol};

use super::{
    ConntrackError, Flow,
    entry::Entry,
    local::Local,
    request,
    sought::Sought,
    wanted::{self, Wanted},
};
use crate::{
    Family,
    backend::netlink::{Attrs, Reply, Socket, Writer, replies},
};

/// How many bytes of deletions are sent at once.
const BATCH: usize = 32 * 1024;

/// A socket, and what was learned about its kernel.
#[derive(Debug)]
pub(super) struct Session {
    socket: Socket,
    /// Whether the kernel deletes by filter, as far as is known.
    filters: bool,
}

impl Session {
    pub(super) const fn new(socket: Socket) -> Self {
        Self { socket, filters: true }
    }

    pub(super) fn delete_all(
        &mut self,
        of: Protocol,
        bindings: &[Binding],
    ) -> Result<(), ConntrackError> {
        let bindings = wanted::of(of, bindings);
        if let Some(few) = wanted::few(&bindings).filter(|_| self.filters)
            && self.delete_each(of, &few)?
        {
            return Ok(());
        }
        let wanted = Wanted::new(bindings);
        let mut local = Local::default();
        for family in wanted.families() {
            let mut entries = self.list(of, family, wanted.only_port())?;
            entries.retain(|entry| wanted.has(entry, &mut local));
            self.delete(&entries)?;
        }
        Ok(())
    }

    /// Passes on the flows that NAT leads to bindings' endpoints.
    pub(super) fn flows(
        &self,
        bindings: &[Binding],
        mut each: impl FnMut(Flow),
    ) -> Result<(), ConntrackError> {
        let sought = Sought::new(bindings);
        for question in sought.questions() {
            let listed = self.ask(&request::list_answered(question), |attrs| {
                let flow = Flow::read(question.protocol, attrs);
                let flow = flow.filter(|flow| question.who.answers(flow) && sought.has(flow));
                flow.into_iter().for_each(&mut each);
            });
            listed.map_err(ConntrackError::List)?;
        }
        Ok(())
    }

    /// Whether the kernel could do it.
    fn delete_each(
        &mut self,
        of: Protocol,
        few: &[(IpAddr, Port)],
    ) -> Result<bool, ConntrackError> {
        for (addr, port) in few {
            let request = request::delete_sent_to(of, *addr, *port);
            match self.ask(&request, |_| ()) {
                Ok(()) => {}
                Err(error) if lacks_filters(&error) => {
                    tracing::debug!(%error, "this kernel deletes no entries by filter");
                    self.filters = false;
                    return Ok(false);
                }
                Err(error) => return Err(ConntrackError::Delete(error)),
            }
        }
        Ok(true)
    }

    fn list(
        &self,
        of: Protocol,
        family: Family,
        port: Option<Port>,
    ) -> Result<Vec<Entry>, ConntrackError> {
        let mut entries = Vec::new();
        let request = request::list(of, family, port);
        let listed = self.ask(&request, |attrs| entries.extend(Entry::parse(of, attrs)));
        listed.map_err(ConntrackError::List)?;
        Ok(entries)
    }

    fn delete(&self, entries: &[Entry]) -> Result<(), ConntrackError> {
        let mut requests = Writer::default();
        for (place, entry) in entries.iter().enumerate() {
            request::delete(&mut requests, entry);
            if requests.len() < BATCH && place + 1 < entries.len() {
                continue;
            }
            match self.ask(&mem::take(&mut requests), |_| ()) {
                Err(error) if !is_missing(&error) => return Err(ConntrackError::Delete(error)),
                // Entries also end by themselves.
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends requests, and reads the whole answer. A missing entry is an error only where there is no other one.
    fn ask(&self, request: &Writer, mut each: impl FnMut(Attrs<'_>)) -> io::Result<()> {
        // What was left unread when a request failed half-way would be taken for this one's answer.
        while self.socket.receive()?.is_some() {}
        self.socket.send(request.bytes())?;
        let mut worst = None;
        while let Some(datagram) = self.socket.receive()? {
            for reply in replies(&datagram) {
                match reply {
                    Reply::Ack(ack) if worst.as_ref().is_none_or(is_missing) => {
                        worst = ack.error.or(worst);
                    }
                    Reply::Message { attrs, .. } => each(attrs),
                    Reply::Ack(_) | Reply::Done => {}
                }
            }
        }
        worst.map_or(Ok(()), Err)
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOENT as i32)
}

/// Without the filter the kernel looks for one entry: the source is missing, or there is no such entry.
fn lacks_filters(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EINVAL | Errno::ENOENT | Errno::EOPNOTSUPP))
}
