//! What goes wrong while a lab is built.

use std::error::Error;
use std::fmt;
use std::io;

/// Any error that may cross threads.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A step of building or changing a lab failed.
///
/// `Display` says which step; [`Error::source`] carries the kernel's answer.
#[derive(Debug)]
pub struct LabError {
    step: String,
    source: Option<BoxError>,
}

impl LabError {
    pub(crate) fn new(step: impl Into<String>) -> Self {
        Self { step: step.into(), source: None }
    }

    #[cfg(feature = "containers")]
    pub(crate) fn caused(step: String, source: impl Into<BoxError>) -> Self {
        Self { step, source: Some(source.into()) }
    }

    /// The kernel's error number, where the kernel refused the step.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.as_ref()?.downcast_ref::<io::Error>()?.raw_os_error()
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.step)
    }
}

impl Error for LabError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Says what was being done when a result turned out to be an error.
pub(crate) trait Step<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError { step: step(), source: Some(source.into()) })
    }
}

impl<T> Step<T> for Result<T, rtnetlink::Error> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(kernel).step(step)
    }
}

/// The kernel's error number as an `io::Error`: its text is what people search for.
pub(crate) fn kernel(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
