//! Errors of the rules in the words of publishing.

use portmap_core::{Error, ErrorKind};

use crate::{
    CompileError, InterfaceError, NetworkError, NetworkParseError, PrefixError, UnknownChoice,
};

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Self {
        let kind = match error {
            CompileError::Conflict(_) => ErrorKind::AddrInUse,
            CompileError::OtherFamily(_) | CompileError::OnLink(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, "there can be no such rules").with_source(error)
    }
}

macro_rules! invalid {
    ($($source:ty: $message:literal,)*) => {$(
        impl From<$source> for Error {
            fn from(error: $source) -> Self {
                Self::new(ErrorKind::Invalid, $message).with_source(error)
            }
        }
    )*};
}

invalid! {
    NetworkError: "the network is wrong",
    NetworkParseError: "the network is wrong",
    InterfaceError: "the interface is wrong",
    PrefixError: "the prefix is wrong",
    UnknownChoice: "the policy is wrong",
}
