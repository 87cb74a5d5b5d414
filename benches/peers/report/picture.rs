//! A picture of a group's first measure: bars, with a line from the lowest to the highest figure.

use super::text::digits;
use crate::{groups::Group, peer::Peer, record::GroupRecord};

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 130.0;
const LONGEST: f64 = 480.0;
const ROW: f64 = 18.0;

pub(super) fn draw(group: &Group, record: &GroupRecord) -> String {
    let Some(measure) = group.measures.first() else {
        return String::new();
    };
    let better = if measure.more { "more" } else { "less" };
    let mut body =
        text(0.0, 16.0, "start", "bold", &format!("{}, {better} is better", measure.title));
    let mut y = 24.0;
    for (cell, _) in group.cells {
        let spread = |peer: &Peer| Some((*peer, record.spread(cell, *peer, measure.key)?));
        let rows: Vec<_> = Peer::ALL.iter().filter_map(spread).collect();
        let most = rows.iter().map(|(_, spread)| spread.high).fold(f64::MIN_POSITIVE, f64::max);
        y += ROW;
        body += &text(0.0, y, "start", "bold", cell);
        for (peer, spread) in rows {
            y += ROW;
            let at = |figure: f64| LEFT + figure.max(0.0) / most * LONGEST;
            let (end, middle) = (at(spread.median), y - 4.5);
            body += &text(LEFT - 8.0, y, "end", "normal", peer.name());
            body += &format!(
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13\" fill=\"{}\"/>\n",
                y - 11.0,
                end - LEFT,
                colour(peer)
            );
            body += &format!(
                "<path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#222\"/>\n",
                at(spread.low),
                at(spread.high)
            );
            let mut label = digits(spread.median * measure.scale);
            if let Some(ratio) = record.ratio(cell, peer, Peer::BASE, measure.key) {
                label += &format!("  (x {})", digits(ratio.median));
            }
            body += &text(at(spread.high) + 6.0, y, "start", "normal", &label);
        }
        y += 6.0;
    }
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn colour(peer: Peer) -> &'static str {
    match peer {
        peer if peer.is_ours() => "#2b7bba",
        Peer::BASE => "#8a8a8a",
        _ => "#c4c4c4",
    }
}

/// A text on one line. None of ours has a character that XML would want escaped.
fn text(x: f64, y: f64, anchor: &str, weight: &str, text: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\" fill=\"#222\">{text}</text>\n"
    )
}
