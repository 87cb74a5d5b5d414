//! Who can reach a published port by which way, and whom the container takes the caller for.
//!
//! Rows are [`Path`]s, columns mappers. [`Matrix::run`] measures each cell in a lab of its column's
//! own, over TCP and UDP, IPv4 and IPv6; the [`Table`] that comes out prints, also as Markdown, and
//! [`Table::check`] holds it to what was expected and, where there is a model, predicted.
//!
//! ```no_run
//! use portmap_testkit::{Need, Suite, matrix::{Column, Kind, Matrix}};
//! # use portmap_core::{Error, Lease, PortMapper, Publish};
//! # struct Mine;
//! # impl PortMapper for Mine {
//! #     async fn publish(&self, _: Publish) -> Result<Lease, Error> { unimplemented!() }
//! # }
//!
//! let mut suite = Suite::from_args();
//! suite.test("every_path_is_as_expected", &[Need::Netns], async || {
//!     let mine = Column::new("mine", Kind::Proxy, |_site| async { Ok(Mine) });
//!     let table = Matrix::new().with(mine).run().await?;
//!     println!("{table}");
//!     Ok(table.check()?)
//! });
//! suite.run();
//! ```

mod cell;
mod column;
mod differences;
mod kind;
mod markdown;
mod path;
mod print;
mod scene;
mod table;
mod way;

pub use cell::{Cell, Outcome, SeenAs};
pub use column::Column;
pub use differences::Differences;
pub use kind::Kind;
pub use path::{Family, Path};
pub use table::{Matrix, Measured, Table};
pub use way::{Places, Way};
