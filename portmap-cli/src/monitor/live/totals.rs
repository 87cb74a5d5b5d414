//! What it comes to.

use std::collections::BTreeMap;

use crate::{
    monitor::{
        Unlisted,
        by::Both,
        flow::{End, How},
        plain,
    },
    output::Bytes,
};

/// As many causes as anybody reads.
const CAUSES: usize = 4;

#[derive(Default)]
pub(super) struct Totals {
    served: u64,
    cut: u64,
    bytes_in: u64,
    bytes_out: u64,
    refused: BTreeMap<String, u64>,
}

impl Totals {
    pub(super) fn ended(&mut self, end: End) {
        match end.how {
            How::Closed { carried, .. } => {
                self.served += 1;
                let Both { to_endpoint, to_client } = carried.unwrap_or_default();
                self.bytes_in += to_endpoint.bytes;
                self.bytes_out += to_client.bytes;
            }
            // It goes on, and is counted when it has ended: it can be followed again, with all its bytes.
            How::Left { .. } => {}
            How::Cut => self.cut += 1,
            How::Refused { root, .. } => *self.refused.entry(root).or_default() += 1,
        }
    }

    /// Of what is followed and open the number and the bytes, in and out; and what is not followed.
    pub(super) fn lines(
        &self,
        open: usize,
        (into, out): (u64, u64),
        unlisted: Unlisted,
    ) -> Vec<String> {
        let refused: u64 = self.refused.values().sum();
        let (bytes_in, bytes_out) = (Bytes(self.bytes_in + into), Bytes(self.bytes_out + out));
        let mut lines = vec![format!(
            "{} open, {} served, {refused} refused; {bytes_in} in, {bytes_out} out",
            open + unlisted.open,
            self.served + self.cut + unlisted.ended
        )];
        if unlisted != Unlisted::default() {
            lines.push(format!("{}; their bytes are not counted", plain::unlisted(unlisted)));
        }
        let mut causes: Vec<_> = self.refused.iter().collect();
        causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        lines.extend(
            causes.iter().take(CAUSES).map(|(cause, count)| format!("{count} refused: {cause}")),
        );
        lines
    }
}
