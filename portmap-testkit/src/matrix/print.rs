//! The table for a terminal.

use std::fmt;
use std::time::Duration;

use super::{Cell, Family, Measured, Path};

pub(super) fn write(f: &mut fmt::Formatter<'_>, columns: &[Measured]) -> fmt::Result {
    let mut rows = vec![header(columns)];
    for path in Path::ALL {
        for family in Family::ALL.into_iter().filter(|family| path.exists_in(*family)) {
            let of = columns.iter().map(|column| {
                let here = |cell: &&Cell| cell.way.path == path && cell.way.family == family;
                text(&column.cells.iter().filter(here).collect::<Vec<_>>())
            });
            rows.push([path.to_string(), family.to_string()].into_iter().chain(of).collect());
        }
    }
    let width = |place: usize| rows.iter().map(|row| row[place].chars().count()).max();
    let widths: Vec<_> = (0..columns.len() + 2).map(|place| width(place).unwrap_or(0)).collect();
    for row in &rows {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{text:width$}  "));
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    f.write_str("milliseconds over TCP/UDP until the caller knew; ! is not what was expected\n")
}

fn header(columns: &[Measured]) -> Vec<String> {
    let names = columns.iter().map(|column| column.name.clone());
    ["path".to_owned(), String::new()].into_iter().chain(names).collect()
}

/// `gateway 0.4/0.3`, and `refused, UDP: dropped 0.2/900` where the protocols differ.
fn text(cells: &[&Cell]) -> String {
    let mut words: Vec<String> = Vec::new();
    for cell in cells {
        let wrong = if cell.is_right() { "" } else { "!" };
        words.push(format!("{}{wrong}", cell.observed.in_words(&cell.way)));
    }
    let both = match words.as_slice() {
        [tcp, udp] if tcp != udp => format!("{tcp}, UDP: {udp}"),
        [one, ..] => one.clone(),
        [] => return "-".to_owned(),
    };
    let took: Vec<_> = cells.iter().map(|cell| milliseconds(cell.took)).collect();
    format!("{both} {}", took.join("/"))
}

/// Two digits that mean something.
fn milliseconds(took: Duration) -> String {
    let took = took.as_secs_f64() * 1000.0;
    if took < 10.0 { format!("{took:.1}") } else { format!("{took:.0}") }
}
