//! The whole of it.

use std::fmt;

use futures::future::join_all;

use super::{Cell, Column, Differences, print};
use crate::error::BoxError;

/// Columns that are to be measured.
#[derive(Debug, Default)]
pub struct Matrix {
    columns: Vec<Column>,
}

/// What was measured. `Display` is an aligned table, with the time that each call took.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Measured>,
}

/// A column that was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
}

impl Matrix {
    /// A matrix without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more column.
    #[must_use]
    pub fn with(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// Measures all columns at the same time, each in a lab of its own. It takes 1 to 3 seconds, since what is
    /// dropped has to be waited for. Only for a process in a sandbox: see [`enter`](crate::enter).
    ///
    /// # Errors
    /// The first column whose lab could not be made, or whose mapper failed. That a cell is not as
    /// expected is no error: see [`Table::check`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing.
    pub async fn run(self) -> Result<Table, BoxError> {
        let measured = self.columns.into_iter().map(async |column| {
            let name = column.name().to_owned();
            column.measure().await.map_err(|error| format!("column {name}: {error}").into())
        });
        let columns: Result<Vec<_>, BoxError> = join_all(measured).await.into_iter().collect();
        Ok(Table { columns: columns? })
    }
}

impl Table {
    /// The columns, in the order in which they were added.
    pub fn columns(&self) -> &[Measured] {
        &self.columns
    }

    /// Holds every cell to what was expected, and what was predicted to that too.
    ///
    /// # Errors
    /// All cells that differ.
    pub fn check(&self) -> Result<(), Differences> {
        Differences::of(&self.columns)
    }

    /// The table in Markdown, families and protocols together where they are alike, without times: the same from run to run.
    pub fn markdown(&self) -> String {
        super::markdown::write(&self.columns)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::write(f, &self.columns)
    }
}

impl Measured {
    /// The column's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cells.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }
}
