//! Who is connected.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use crate::{
    monitor::{flow::Served, paths::Paths, plain},
    output::Bytes,
};

/// Who is connected, and how much that was a second ago.
#[derive(Default)]
pub(super) struct Flows {
    open: BTreeMap<u64, (Arc<Served>, Rate, Rate)>,
    paths: Paths,
}

impl Flows {
    pub(super) fn add(&mut self, served: Arc<Served>) {
        self.open.insert(served.id, (served, Rate::default(), Rate::default()));
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.open.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// A second has passed.
    pub(super) fn tick(&mut self) {
        for (served, to_endpoint, to_client) in self.open.values_mut() {
            let carried = served.by.carried().unwrap_or_default();
            to_endpoint.tick(carried.to_endpoint.bytes);
            to_client.tick(carried.to_client.bytes);
            // What is looked at now and then is not looked at just now.
            if let Some((into, out)) = served.by.each() {
                (to_endpoint.each, to_client.each) = (into, out);
            }
        }
    }

    /// What those who are connected have had carried, in and out.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let carried = self.open.values().filter_map(|(served, ..)| served.by.carried());
        carried.fold((0, 0), |(into, out), both| {
            (into + both.to_endpoint.bytes, out + both.to_client.bytes)
        })
    }

    /// The busiest ones, and of the others the newest, in so many lines.
    pub(super) fn lines(&mut self, room: usize) -> Vec<String> {
        if self.open.is_empty() || room < 2 {
            return Vec::new();
        }
        let names = ["client", "to", "path", "by", "seen as", "age", "in", "out", "in/s", "out/s"];
        let mut lines = vec![row(names.map(str::to_owned))];
        let more = (self.open.len() + 1).saturating_sub(room);
        let fit = if more > 0 { room - 2 } else { self.open.len() };
        let mut open: Vec<_> = self.open.values().rev().collect();
        // Stable: those who carry nothing stay in the order of their coming.
        open.sort_by_key(|(_, to_endpoint, to_client)| Reverse(to_endpoint.each + to_client.each));
        for (served, to_endpoint, to_client) in open.into_iter().take(fit) {
            let observed = served.by.observed().map_or("-".to_owned(), |addr| addr.to_string());
            let carried = served.by.carried();
            let bytes = |count: Option<u64>| count.map_or("-".to_owned(), |n| Bytes(n).to_string());
            lines.push(row([
                served.client.to_string(),
                plain::host(served),
                self.paths.of(served.client.ip()).to_string(),
                served.by.name().to_owned(),
                observed,
                age(served.begun.elapsed().as_secs()),
                bytes(carried.map(|both| both.to_endpoint.bytes)),
                bytes(carried.map(|both| both.to_client.bytes)),
                bytes(carried.map(|_| to_endpoint.each)),
                bytes(carried.map(|_| to_client.each)),
            ]));
        }
        if more > 0 {
            lines.push(format!("... and {} more", self.open.len() - fit));
        }
        lines
    }
}

/// How much it is in a second.
#[derive(Default)]
struct Rate {
    before: u64,
    each: u64,
}

impl Rate {
    fn tick(&mut self, now: u64) {
        self.each = now.saturating_sub(self.before);
        self.before = now;
    }
}

fn row(
    [client, to, path, by, observed, age, bytes_in, bytes_out, rate_in, rate_out]: [String; 10],
) -> String {
    format!(
        "{client:21}  {to:21}  {path:12}  {by:5}  {observed:21}  {age:>5}  {bytes_in:>8}  {bytes_out:>8}  {rate_in:>8}  {rate_out:>8}"
    )
}

/// `59s`, `12m`, `5h`, `3d`
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
