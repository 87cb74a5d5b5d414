//! One JSON object a line: each has `event` and `time`, in seconds since 1970.

mod event;

use std::time::{SystemTime, UNIX_EPOCH};

use self::event::{Client, Event, Timed};
use super::{
    News, Unlisted,
    flow::{End, How, LEFT, Served},
    paths::Paths,
    printer::Sink,
};
use crate::output::{json, say};

#[derive(Default)]
pub(super) struct Json {
    paths: Paths,
}

impl Sink for Json {
    fn take(&mut self, news: News) {
        print(match news {
            News::Note(text) => Event::Note { text },
            News::Published(mode, bindings) => {
                Event::Published { mode, bindings: bindings.iter().map(Into::into).collect() }
            }
            News::Retargeted(bindings) => {
                Event::Retargeted { bindings: bindings.iter().map(Into::into).collect() }
            }
            News::Opened(served) => Event::Opened(self.client(&served)),
            News::Ended(served, end) => ended(self.client(&served), end),
            News::Unlisted(Unlisted { open, ended }) => Event::Unlisted { open, ended },
            News::Released => Event::Released,
            News::End => return,
        });
    }

    fn lost(&mut self, count: u64) {
        print(Event::Lost { events: count });
    }
}

impl Json {
    fn client(&mut self, served: &Served) -> Client {
        Client {
            id: served.id,
            protocol: served.protocol.to_string(),
            client: served.client,
            host: served.host,
            path: self.paths.of(served.client.ip()).to_string(),
            container_port: served.container_port.number(),
            by: served.by.name(),
        }
    }
}

fn ended(client: Client, End { lasted, how }: End) -> Event {
    let seconds = lasted.as_secs_f64();
    let (seen_as, carried, ending) = match how {
        How::Closed { observed, carried, ending } => (observed, carried, ending),
        How::Left { observed, carried } => (observed, carried, LEFT),
        How::Cut => return Event::Cut { client, seconds },
        How::Refused { cause, .. } => return Event::Refused { client, seconds, cause },
    };
    let datagrams = carried.filter(|_| client.protocol == "udp");
    Event::Closed {
        client,
        seen_as,
        seconds,
        bytes_in: carried.map(|both| both.to_endpoint.bytes),
        bytes_out: carried.map(|both| both.to_client.bytes),
        datagrams_in: datagrams.map(|both| both.to_endpoint.datagrams),
        datagrams_out: datagrams.map(|both| both.to_client.datagrams),
        ending,
    }
}

fn print(event: Event) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Numbers and texts alone: nothing in it can fail to be written.
    if let Ok(line) = serde_json::to_string(&Timed { time: now.as_secs_f64(), event }) {
        say(json(&line));
    }
}
