//! What is not as it should be.

use std::error::Error;
use std::fmt;

use super::{Cell, Measured};

/// Cells that are not as expected, or were not predicted so. `Display` has a line for each.
#[derive(Clone, Debug)]
pub struct Differences(Vec<(String, Cell)>);

impl Differences {
    pub(super) fn of(columns: &[Measured]) -> Result<(), Self> {
        let wrong: Vec<_> = columns
            .iter()
            .flat_map(|column| column.cells.iter().map(|cell| (column.name.clone(), cell.clone())))
            .filter(|(_, cell)| !cell.is_right())
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(Self(wrong)) }
    }

    /// The names of their columns, and the cells.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &Cell)> {
        self.0.iter().map(|(column, cell)| (column.as_str(), cell))
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls came to something else:", self.0.len())?;
        for (column, cell) in &self.0 {
            write!(f, "\n{column}: {cell}")?;
        }
        Ok(())
    }
}

impl Error for Differences {}
