//! The host ports that a mapping may get, in the order in which they are tried.

use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    iter,
};

use crate::{Error, ErrorKind, HostPort, Mapping, Port, PortRange};

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// The first ports of the blocks that would do.
pub(super) fn of(mapping: &Mapping) -> Result<Box<dyn Iterator<Item = Port> + Send>, Error> {
    Ok(match mapping.host_port() {
        HostPort::Exact(ports) => Box::new(iter::once(ports.first())),
        HostPort::AnyOf(ports) => Box::new(ports.iter()),
        HostPort::Ephemeral => {
            let reserved = parse_reserved(&read(RESERVED)?);
            let len = mapping.container_ports().len();
            let start = RandomState::new().build_hasher().finish();
            Box::new(rotated(ephemeral_ports()?, reserved, len, start as usize))
        }
    })
}

/// The host's ephemeral ports, as `net.ipv4.ip_local_port_range` has them. It counts for IPv6 too.
pub(super) fn ephemeral_ports() -> Result<PortRange, Error> {
    let text = read(RANGE)?;
    let mut ends = text.split_whitespace().map(str::parse);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) => PortRange::new(first, last).ok(),
        _ => None,
    }
    .ok_or_else(|| Error::new(ErrorKind::Backend, format!("{RANGE} holds no range: {text:?}")))
}

/// Every block of `len` ports inside `ports` and clear of `reserved`, from a place on and around.
///
/// The place is random, so that a port that was just released is not handed out again at once.
fn rotated(
    ports: PortRange,
    reserved: Vec<PortRange>,
    len: usize,
    start: usize,
) -> impl Iterator<Item = Port> + Send {
    let blocks = (ports.len() + 1).saturating_sub(len);
    (0..blocks).filter_map(move |place| ports.nth((start % blocks + place) % blocks)).filter(
        move |first| {
            PortRange::starting_at(*first, len).is_some_and(|block| is_clear(block, &reserved))
        },
    )
}

/// Whether no port of a block is reserved. The ranges are in order, and do not overlap.
fn is_clear(block: PortRange, reserved: &[PortRange]) -> bool {
    let next = reserved.partition_point(|range| range.last() < block.first());
    reserved.get(next).is_none_or(|range| !range.overlaps(block))
}

/// Reads `8080,9148-9150`, as the kernel has it: in order. Nothing at all on most hosts.
fn parse_reserved(text: &str) -> Vec<PortRange> {
    let ranges = text.trim().split(',');
    ranges.filter_map(|range| range.parse().ok()).collect()
}

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path)
        .map_err(|error| Error::of_io(format_args!("{path} cannot be read"), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> PortRange {
        text.parse().unwrap()
    }

    fn numbers(ports: &str, reserved: &str, len: usize, start: usize) -> Vec<u16> {
        let blocks = rotated(range(ports), parse_reserved(reserved), len, start);
        blocks.map(Port::number).collect()
    }

    #[test]
    fn the_whole_range_is_tried_from_a_random_place_on() {
        assert_eq!(numbers("10-14", "", 1, 3), [13, 14, 10, 11, 12]);
        assert_eq!(numbers("10-14", "", 1, usize::MAX).len(), 5);
    }

    #[test]
    fn a_block_stays_inside_the_range_and_clear_of_reserved_ports() {
        assert_eq!(numbers("10-14", "", 4, 0), [10, 11]);
        assert_eq!(numbers("10-14", "\n", 5, 7), [10]);
        assert_eq!(numbers("10-14", "", 6, 0), [0; 0]);
        assert_eq!(numbers("10-19", "13,16-17\n", 2, 0), [10, 11, 14, 18]);
    }
}
