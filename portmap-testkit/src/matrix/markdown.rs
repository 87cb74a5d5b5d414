//! The table for a document.

use super::{Cell, Family, Measured, Path};
use portmap_core::Protocol;

pub(super) fn write(columns: &[Measured]) -> String {
    let names = columns.iter().map(|column| column.name.as_str());
    let mut lines = vec![line(["path"].into_iter().chain(names).map(str::to_owned))];
    lines.push("|---".repeat(columns.len() + 1) + "|");
    for path in Path::ALL {
        let cells = columns.iter().map(|column| text(column, path));
        lines.push(line([path.to_string()].into_iter().chain(cells)));
    }
    lines.join("\n") + "\n"
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {} |", cells.join(" | "))
}

/// One word where all agree; else what each family, or each protocol, comes to.
fn text(column: &Measured, path: Path) -> String {
    let words = |wanted: &dyn Fn(&Cell) -> bool| -> Vec<String> {
        let cells = column.cells.iter().filter(|cell| cell.way.path == path && wanted(cell));
        let mut words: Vec<_> = cells.map(|cell| cell.observed.in_words(&cell.way)).collect();
        words.dedup();
        words
    };
    let one = |words: Vec<String>| <[String; 1]>::try_from(words).map(|[word]| word).ok();
    if let Some(word) = one(words(&|_| true)) {
        return word;
    }
    let families =
        Family::ALL.map(|family| (family, one(words(&|cell| cell.way.family == family))));
    if let [(four, Some(in_four)), (six, Some(in_six))] = families {
        return format!("{four}: {in_four}; {six}: {in_six}");
    }
    let protocols = [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp)]
        .map(|(name, protocol)| (name, one(words(&|cell| cell.protocol == protocol))));
    if let [(tcp, Some(by_tcp)), (udp, Some(by_udp))] = protocols {
        return format!("{tcp}: {by_tcp}; {udp}: {by_udp}");
    }
    words(&|_| true).join(", ")
}
