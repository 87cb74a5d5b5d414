//! Panics of somebody else's code.

use std::{
    any::Any,
    error, fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A layer or a dial service panicked; what it said.
#[derive(Debug)]
pub(crate) struct Panicked(String);

/// Runs somebody else's code. What it worked on may be broken after a panic, and must not be used any more.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panicked::new)
}

impl Panicked {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let said = match payload.downcast::<String>() {
            Ok(said) => *said,
            Err(payload) => payload.downcast::<&str>().map_or_else(
                |_| "it said nothing that can be shown".to_owned(),
                |said| (*said).to_owned(),
            ),
        };
        Self(said)
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Panicked {}
