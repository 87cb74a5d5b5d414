//! Errors of the rules in the words of publishing.

use portmap_core::{Error, ErrorKind};

use crate::CompileError;

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Self {
        let kind = match error {
            CompileError::Conflict(_) => ErrorKind::AddrInUse,
            CompileError::OtherFamily(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, "there can be no such rules").with_source(error)
    }
}
