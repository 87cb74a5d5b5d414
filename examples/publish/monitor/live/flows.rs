//! Who is connected.

use std::{collections::BTreeMap, sync::Arc};

use crate::monitor::{flow::Served, paths::Paths, plain};

#[derive(Default)]
pub(super) struct Flows {
    open: BTreeMap<u64, Arc<Served>>,
    paths: Paths,
}

impl Flows {
    pub(super) fn add(&mut self, served: Arc<Served>) {
        self.open.insert(served.id, served);
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.open.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The newest ones, in so many lines.
    pub(super) fn lines(&mut self, room: usize) -> Vec<String> {
        if self.open.is_empty() || room < 2 {
            return Vec::new();
        }
        let mut lines = vec![row("client", "to", "path", "age")];
        let more = (self.open.len() + 1).saturating_sub(room);
        let fit = if more > 0 { room - 2 } else { self.open.len() };
        for served in self.open.values().rev().take(fit) {
            let path = self.paths.of(served.client.ip()).to_string();
            let age = format!("{:.0?}", served.begun.elapsed());
            let (client, to) = (served.client.to_string(), plain::host(served));
            lines.push(row(&client, &to, &path, &age));
        }
        if more > 0 {
            lines.push(format!("... and {} more", self.open.len() - fit));
        }
        lines
    }
}

fn row(client: &str, to: &str, path: &str, age: &str) -> String {
    format!("{client:21}  {to:21}  {path:12}  {age:>6}")
}
