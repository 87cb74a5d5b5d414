//! The result on standard output.

use crate::{
    groups::{Group, Measure},
    peer::Peer,
    record::GroupRecord,
    stats::Spread,
};

/// Prints a table for each measure.
pub(crate) fn print(group: &Group, record: &GroupRecord) {
    println!(
        "\n{}: medians of {} [lowest, highest], x docker-proxy",
        group.title, record.repetitions
    );
    println!("{}", group.about);
    for measure in group.measures.iter().filter(|measure| record.has(measure.key)) {
        let better = if measure.more { "more" } else { "less" };
        println!("  {} ({better} is better)", measure.title);
        for (cell, _) in group.cells {
            for peer in Peer::ALL {
                if let Some(line) = line(record, cell, peer, measure) {
                    println!("    {cell:18} {:17} {line}", peer.name());
                }
            }
        }
    }
}

fn line(record: &GroupRecord, cell: &str, peer: Peer, measure: &Measure) -> Option<String> {
    let spread = record.spread(cell, peer, measure.key)?;
    let scaled = |figure: f64| figure * measure.scale;
    let mut line = format!("{:>9}", digits(scaled(spread.median)));
    let reach = format!("[{}, {}]", digits(scaled(spread.low)), digits(scaled(spread.high)));
    line += &format!(" {reach:18}");
    if let Some(Spread { median, low, high }) = record.ratio(cell, peer, Peer::BASE, measure.key) {
        line += &format!(" x {} [{}, {}]", digits(median), digits(low), digits(high));
    }
    if spread.is_wide() {
        line += " (wide)";
    }
    Some(line)
}

/// Three digits that count.
pub(crate) fn digits(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 99.95 => format!("{figure:.0}"),
        size if size >= 9.995 => format!("{figure:.1}"),
        size if size >= 0.9995 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
