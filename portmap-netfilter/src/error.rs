//! Errors of the kernel half in the words of publishing.

use portmap_core::{Error, ErrorKind};

/// A failure of netfilter or connection tracking; where a privilege is missing, it is always the one that is named.
pub(crate) fn failed(kind: ErrorKind, message: &'static str) -> Error {
    match kind {
        ErrorKind::Denied => Error::new(kind, format!("{message} without CAP_NET_ADMIN")),
        _ => Error::new(kind, message),
    }
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
