//! The thread's side.

use std::io;

use nix::errno::Errno;
use portmap_core::Binding;

use super::{
    ConntrackError, Flow,
    entry::Entry,
    local::Local,
    request,
    sought::Sought,
    wanted::{Place, Wanted, Which},
};
use crate::netlink::{Answer, Attrs, Transport, Writer, ask, dump, fold};

/// How many deletions are sent at once: each takes some 100 bytes, and what the kernel says of it as much.
const BATCH: usize = 256;

/// Up to how many entries are listed at once rather than by family, where both are wanted. The kernel's walk through
/// its table takes 2.9 ms (262,144 buckets, nearly empty), which is what listing 1,600 entries takes.
const FEW: u32 = 1000;

/// A socket, and what was learned about its kernel.
#[derive(Debug)]
pub(super) struct Session {
    socket: Box<dyn Transport>,
    /// Whether the kernel deletes by filter, as far as is known.
    filters: bool,
}

impl Session {
    pub(super) fn new(socket: impl Transport + 'static) -> Self {
        Self { socket: Box::new(socket), filters: true }
    }

    pub(super) fn delete_all(
        &mut self,
        which: Which,
        bindings: &[Binding],
    ) -> Result<(), ConntrackError> {
        let wanted = Wanted::new(which, bindings);
        if wanted.is_empty() {
            return Ok(());
        }
        let count = self.count();
        if count == Some(0) {
            return Ok(());
        }
        if let Some(few) = wanted.few().filter(|_| self.filters)
            && self.delete_each(which, &few)?
        {
            return Ok(());
        }
        let mut local = Local::default();
        let families: Vec<_> = wanted.families().collect();
        if families.len() > 1 && count.is_some_and(|count| count <= FEW) {
            return self.delete_listed(&request::list_all(), &wanted, &mut local);
        }
        for family in families {
            let request = request::list(which.protocol(), family, wanted.only_port());
            self.delete_listed(&request, &wanted, &mut local)?;
        }
        Ok(())
    }

    /// Passes the flows that NAT leads to bindings' endpoints to a function that has `made` something of those before.
    pub(super) fn flows<T: Clone>(
        &self,
        bindings: &[Binding],
        mut made: T,
        mut each: impl FnMut(&mut T, Flow),
    ) -> Result<T, ConntrackError> {
        if self.count() == Some(0) {
            return Ok(made);
        }
        let sought = Sought::new(bindings);
        for question in sought.questions() {
            let request = request::list_answered(question);
            let listed = fold(
                &*self.socket,
                request.bytes(),
                || made.clone(),
                |made, attrs| {
                    let flow = Flow::read(question.protocol, attrs);
                    let flow = flow.filter(|flow| question.who.answers(flow) && sought.has(flow));
                    flow.into_iter().for_each(|flow| each(made, flow));
                },
            );
            made = listed.map_err(ConntrackError::List)?;
        }
        Ok(made)
    }

    /// How many entries there are, where the kernel tells. A listing walks through a table of all namespaces' entries,
    /// whether or not one is of this one.
    fn count(&self) -> Option<u32> {
        let mut count = None;
        let counted = ask(&*self.socket, request::count().bytes(), 0, |attrs| {
            count = attrs.be32(request::CTA_STATS_GLOBAL_ENTRIES);
        });
        counted.ok().filter(|answer| answer.errors.is_empty() && answer.lost.is_none())?;
        count
    }

    /// Whether the kernel could do it.
    fn delete_each(&mut self, which: Which, few: &[Place]) -> Result<bool, ConntrackError> {
        for place in few {
            let request = request::delete_sent_to(which.protocol(), *place);
            match self.execute(&request, 0) {
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

    fn delete_listed(
        &self,
        request: &Writer,
        wanted: &Wanted<'_>,
        local: &mut Local,
    ) -> Result<(), ConntrackError> {
        let protocol = wanted.which().protocol();
        let entries = self.list(request, |attrs| {
            Entry::parse(protocol, attrs).filter(|entry| wanted.has(entry, local))
        })?;
        self.delete(&entries)
    }

    fn list<T>(
        &self,
        request: &Writer,
        read: impl FnMut(Attrs<'_>) -> Option<T>,
    ) -> Result<Vec<T>, ConntrackError> {
        dump(&*self.socket, request.bytes(), read).map_err(ConntrackError::List)
    }

    fn delete(&self, entries: &[Entry]) -> Result<(), ConntrackError> {
        for entries in entries.chunks(BATCH) {
            let last = entries.len() as u32 - 1;
            match self.execute(&request::delete(entries), last) {
                Err(error) if !is_missing(&error) => return Err(ConntrackError::Delete(error)),
                // Entries also end by themselves.
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends requests, and reads the whole answer. A missing entry is an error only where there is no other one.
    fn execute(&self, requests: &Writer, last: u32) -> io::Result<()> {
        let Answer { errors, lost } = ask(&*self.socket, requests.bytes(), last, |_| ())?;
        let errors = errors.into_iter().filter_map(|ack| ack.error).chain(lost);
        let (missing, others): (Vec<_>, Vec<_>) = errors.partition(is_missing);
        others.into_iter().chain(missing).next().map_or(Ok(()), Err)
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

#[cfg(test)]
mod tests {
    use portmap_core::{HostAddr, Protocol};

    use super::*;
    use crate::netlink::fake::{Answer, Fake, ack, datagram, done};

    fn everywhere() -> Vec<Binding> {
        let (port, ports) = ("5353".parse().expect("it works"), "53".parse().expect("it works"));
        let to = "192.0.2.2,2001:db8::2".parse().expect("it works");
        Binding::new(Protocol::Udp, HostAddr::Any, port, to, ports).into_iter().collect()
    }

    fn counted(count: u32) -> Answer {
        let entries = [&[0, 0, 0, 0, 8, 0, 1, 0][..], &count.to_be_bytes()].concat();
        Answer::these([datagram(0x0105, 0, 0, &entries), ack(0, 0)])
    }

    fn nothing() -> Answer {
        Answer::these([done(0, 0)])
    }

    /// [`Fake`] panics where it is asked more often than there are answers.
    fn forget(answers: Vec<Answer>) -> Result<(), ConntrackError> {
        Session::new(Fake::new(answers)).delete_all(Which::Udp, &everywhere())
    }

    #[test]
    fn nothing_is_listed_where_nothing_is_remembered() {
        forget(vec![counted(0)]).unwrap();
        let mut idle = Session::new(Fake::new(vec![]));
        idle.delete_all(Which::Tcp, &everywhere()).unwrap();
        let session = Session::new(Fake::new(vec![counted(0)]));
        assert_eq!(session.flows(&everywhere(), 0, |count, _| *count += 1).unwrap(), 0);
    }

    #[test]
    fn few_entries_are_listed_once_and_many_by_family() {
        forget(vec![counted(FEW), nothing()]).unwrap();
        forget(vec![counted(FEW + 1), nothing(), nothing()]).unwrap();
        // A kernel that doesn't count is asked all the same.
        let refused = Answer::these([ack(0, -(Errno::EINVAL as i32))]);
        forget(vec![refused, nothing(), nothing()]).unwrap();
    }

    #[test]
    fn a_listing_that_is_not_whole_is_an_error() {
        let cut = forget(vec![counted(1), Answer::these([])]).unwrap_err();
        assert!(matches!(cut, ConntrackError::List(_)), "{cut:?}");
        let lost = Answer::these([]).then_fails(Errno::ENOBUFS);
        let lost = forget(vec![counted(1), lost]).unwrap_err();
        assert!(matches!(lost, ConntrackError::List(_)), "{lost:?}");
    }
}
