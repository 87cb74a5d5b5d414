//! Lines for a person or a file.

use std::time::{Duration, Instant};

use portmap::{Foreign, Protocol, proxy::Carried};

use super::{
    News, Unlisted,
    by::{Both, By},
    flow::{End, How, Served},
    printer::Sink,
    tracking::MOST,
};
use crate::output::{Bytes, Table, say};

/// How often it is said at most how many connections there are of which no line tells.
const SELDOM: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Plain {
    unlisted: Unlisted,
    /// When that was said, and what.
    said: Option<(Instant, Unlisted)>,
}

impl Sink for Plain {
    fn take(&mut self, news: News) {
        match news {
            News::Note(line) => say(Foreign::of_any_length(line)),
            News::Published(_, bindings) => {
                say(Table::of_bindings(&bindings));
                say("Ctrl-C ends it.");
            }
            News::Ended(served, end) => {
                if let Some(line) = line(&served, &end) {
                    say(line);
                }
            }
            News::Unlisted(unlisted) => self.unlisted = unlisted,
            News::Retargeted(_) | News::Opened(_) | News::Released | News::End => {}
        }
    }

    fn lost(&mut self, count: u64) {
        say(format_args!("{count} lines came faster than they could be printed, and are lost"));
    }

    fn tick(&mut self) {
        let is_news = match self.said {
            Some((at, said)) => said != self.unlisted && at.elapsed() >= SELDOM,
            None => self.unlisted != Unlisted::default(),
        };
        if is_news {
            say(unlisted(self.unlisted));
            self.said = Some((Instant::now(), self.unlisted));
        }
    }
}

/// How many connections there are besides the listed ones.
pub(super) fn unlisted(Unlisted { open, ended }: Unlisted) -> String {
    format!(
        "besides the {MOST} newest by NAT {open} are open that are not listed, and {ended} have ended"
    )
}

/// What became of a connection or a session. Of one that was refused the log tells, once a second at most.
pub(super) fn line(served: &Served, end: &End) -> Option<String> {
    let host = host(served);
    let (client, lasted) = (served.client, lasted(served, end.lasted));
    match &end.how {
        // It is told of as long as it is followed, and counted from then on.
        How::Left { .. } => None,
        How::Closed { observed, carried, ending } => {
            let carried = carried.map_or_else(String::new, |Both { to_endpoint, to_client }| {
                let (into, out) = (amount(served, to_endpoint), amount(served, to_client));
                format!(" {into} in, {out} out,")
            });
            let comma = if ending.is_empty() { "" } else { ", " };
            Some(format!(
                "{client} to {host}, seen as {observed},{carried} {lasted}{comma}{ending}"
            ))
        }
        How::Cut => Some(format!("{client} to {host}, {lasted}, cut by the release")),
        How::Refused { .. } => None,
    }
}

/// `1.5s`, `350.0ms`; of what is looked at once a second `3s by NAT`
fn lasted(served: &Served, lasted: Duration) -> String {
    match (&served.by, lasted.as_secs()) {
        (By::Proxy(_), _) => format!("{lasted:.1?}"),
        (By::Nat(_), 0) => "under 1s by NAT".to_owned(),
        (By::Nat(_), seconds) => format!("{seconds}s by NAT"),
    }
}

/// `127.0.0.1:8080`, `127.0.0.1:8080/udp`
pub(super) fn host(served: &Served) -> String {
    let host = served.host.map_or("?".to_owned(), |addr| addr.to_string());
    match served.protocol {
        Protocol::Udp => format!("{host}/udp"),
        _ => host,
    }
}

/// `35 B`, `35 B (1 datagram)`. By NAT packets are counted, with their headers.
fn amount(served: &Served, carried: Carried) -> String {
    let bytes = Bytes(carried.bytes);
    match (served.protocol, carried.datagrams) {
        (Protocol::Udp, 1) => format!("{bytes} (1 datagram)"),
        (Protocol::Udp, several) => format!("{bytes} ({several} datagrams)"),
        _ => bytes.to_string(),
    }
}
