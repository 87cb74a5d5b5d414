//! What people read.

mod goals;
mod markdown;
mod picture;
mod text;

use std::{fs, path::Path};

use portmap::BoxError;

use crate::{groups::GROUPS, record::Record};

pub(crate) use goals::print as print_goals;
pub(crate) use text::print;

/// What the report consists of, in the folder `docs`.
const RESULTS: &str = "benchmarks/results.json";

/// Writes the report anew. What was not measured this time stays as it was.
pub(crate) fn write(docs: &Path, measured: Record) -> Result<(), BoxError> {
    let mut record = match fs::read_to_string(docs.join(RESULTS)) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Record::default(),
    };
    record.groups.extend(measured.groups);
    fs::create_dir_all(docs.join("benchmarks"))?;
    fs::write(docs.join(RESULTS), record.to_json()?)?;
    fs::write(docs.join("benchmarks.md"), markdown::page(&record))?;
    for group in GROUPS {
        if let Some(measured) = record.groups.get(group.name) {
            let path = docs.join(format!("benchmarks/{}.svg", group.name));
            fs::write(path, picture::draw(group, measured))?;
        }
    }
    Ok(())
}
