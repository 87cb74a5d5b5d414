//! Elements of sets and maps.

use portmap_rules::{Data, Element, Name, TableId, Value};

use super::{
    NEW, expression, family,
    value::{self, Bytes},
};
use crate::{
    netlink::{HEADER, Writer},
    nftables::{
        batch::Batch,
        kernel::{
            NFT_SET_ELEM_INTERVAL_END, NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA,
            NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END,
            NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, msg,
        },
        origin::{Origin, Part},
        registry::Shape,
    },
};

/// How long the elements of a message may be: a list's length has 16 bits, and the last one must fit in.
const ROOM: usize = 60_000;

type Set<'a> = (&'a TableId, &'a Name, Shape);

/// The error is an element that the set cannot have.
pub(super) fn add<'e>(
    batch: &mut Batch,
    change: usize,
    set: Set<'_>,
    elements: &'e [Element],
) -> Result<(), &'e Element> {
    check(set, elements)?;
    write(batch, (change, msg::NEWSETELEM, NEW), set, elements);
    Ok(())
}

/// The error is an element that the set cannot have.
pub(super) fn delete<'e>(
    batch: &mut Batch,
    change: usize,
    set: Set<'_>,
    elements: &'e [Element],
) -> Result<(), &'e Element> {
    check(set, elements)?;
    write(batch, (change, msg::DELSETELEM, 0), set, elements);
    Ok(())
}

/// A set without intervals would take the beginning of a range for all of it.
fn check<'e>((.., shape): Set<'_>, elements: &'e [Element]) -> Result<(), &'e Element> {
    let is_single = |value: &Value| {
        let (low, high) = value::bounds(*value);
        low == high
    };
    let wrong = |(values, _): &&Element| !shape.interval && !values.iter().all(is_single);
    elements.iter().find(wrong).map_or(Ok(()), Err)
}

fn write(
    batch: &mut Batch,
    (change, kind, flags): (usize, u8, u16),
    (table, set, shape): Set<'_>,
    elements: &[Element],
) {
    let with_data = kind == msg::NEWSETELEM;
    let mut done = 0;
    while done < elements.len() {
        let mut starts = Vec::new();
        let part = Part::Elements { first: done, starts: Vec::new() };
        let origin = Origin { change, part };
        batch.push(kind, flags, family(table), origin, |writer| {
            let start = writer.len() - HEADER;
            writer.text(NFTA_SET_ELEM_LIST_TABLE, table.name.as_str());
            writer.text(NFTA_SET_ELEM_LIST_SET, set.as_str());
            writer.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |writer| {
                for (values, data) in &elements[done..] {
                    if writer.len() - start > ROOM {
                        break;
                    }
                    starts.push((writer.len() - start) as u32);
                    one(writer, shape, values, data.filter(|_| with_data));
                }
            });
        });
        done += starts.len();
        if let Some(Origin { part: Part::Elements { starts: kept, .. }, .. }) = batch.last_origin()
        {
            *kept = starts;
        }
    }
}

fn one(writer: &mut Writer, shape: Shape, values: &[Value], data: Option<Data>) {
    let bounds = || values.iter().map(|value| value::bounds(*value));
    let low = || bounds().map(|(low, _)| low);
    let high = || bounds().map(|(_, high)| high);
    writer.nest(NFTA_LIST_ELEM, |writer| {
        key(writer, NFTA_SET_ELEM_KEY, shape, low());
        if shape.interval && shape.concatenated {
            key(writer, NFTA_SET_ELEM_KEY_END, shape, high());
        }
        data.iter().for_each(|data| map_to(writer, *data));
    });
    // An interval of a single field is an element where it begins, and one behind its end, if anything is there.
    if shape.interval
        && !shape.concatenated
        && let Some(behind) = high().next().and_then(Bytes::next)
    {
        writer.nest(NFTA_LIST_ELEM, |writer| {
            key(writer, NFTA_SET_ELEM_KEY, shape, [behind].into_iter());
            writer.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        });
    }
}

fn key(writer: &mut Writer, kind: u16, shape: Shape, fields: impl Iterator<Item = Bytes>) {
    writer.nest(kind, |writer| {
        writer.attr_with(NFTA_DATA_VALUE, |writer| {
            for field in fields {
                if shape.concatenated {
                    writer.padded(field.as_slice());
                } else {
                    writer.raw(field.as_slice());
                }
            }
        });
    });
}

fn map_to(writer: &mut Writer, data: Data) {
    writer.nest(NFTA_SET_ELEM_DATA, |writer| match data {
        Data::Verdict(verdict) => expression::code(writer, verdict.into()),
        Data::Addr(addr) => writer.attr(NFTA_DATA_VALUE, Bytes::from(addr).as_slice()),
        Data::AddrPort(addr, port) => writer.attr_with(NFTA_DATA_VALUE, |writer| {
            writer.raw(Bytes::from(addr).as_slice());
            writer.padded(value::port(port).as_slice());
        }),
    });
}
