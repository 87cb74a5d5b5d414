//! What people read.

mod text;

pub(crate) use text::print;
