//! Errors of the rules in the words of publishing.

use portmap_core::{Error, ErrorKind};

use crate::{
    CompileError, InterfaceError, NetworkError, NetworkParseError, PrefixError, UnknownChoice,
};

/// A failure of netfilter or connection tracking; where a privilege is missing, it is always the one that is named.
pub(crate) fn failed(kind: ErrorKind, message: &'static str) -> Error {
    match kind {
        ErrorKind::Denied => Error::new(kind, format!("{message} without CAP_NET_ADMIN")),
        _ => Error::new(kind, message),
    }
}

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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{ConntrackError, IptablesError};

    #[test]
    fn what_is_denied_names_the_capability() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let run = IptablesError::Run { tool: "iptables-restore".into(), source: denied() };
        let errors: [Error; 2] = [run.into(), ConntrackError::List(denied()).into()];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(error.to_string().ends_with(" without CAP_NET_ADMIN"), "{error}");
        }
        let failed = Error::from(ConntrackError::Closed);
        assert_eq!(failed.to_string(), "connection tracking did not do as it was asked");
    }

    #[test]
    fn a_tool_for_which_nothing_is_left_is_no_failure_of_the_tool() {
        for errno in [nix::errno::Errno::EMFILE, nix::errno::Errno::EAGAIN] {
            let run = IptablesError::Run { tool: "iptables-save".into(), source: errno.into() };
            assert_eq!(run.kind(), ErrorKind::Exhausted);
        }
    }
}
