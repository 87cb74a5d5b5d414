//! Why a client was not served, from the error of the service that should have.

use std::{error::Error, fmt, io::ErrorKind};

use portmap_core::BoxError;
use tower::load_shed::error::Overloaded;

use crate::{
    ForwardError,
    causes::{find, io_kind},
};

/// Why a connection or a session did not reach its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureCause {
    /// The container refused: nobody listens there.
    DialRefused,
    /// The container did not answer, for the dial limit or for the kernel's.
    DialTimedOut,
    /// There is no way to the container.
    Unreachable,
    /// The dial service failed in another way.
    DialFailed,
    /// The client went away before its container was reached.
    ClientGone,
    /// A layer or the dial service ended it with an error of its own.
    Service,
    /// The service panicked.
    Panicked,
}

/// What the end of a service with an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unserved {
    ByLimit,
    Failed(FailureCause),
    /// It is nobody's failure.
    Released,
}

impl FailureCause {
    /// Every cause there is.
    pub const ALL: [Self; 7] = [
        Self::DialRefused,
        Self::DialTimedOut,
        Self::Unreachable,
        Self::DialFailed,
        Self::ClientGone,
        Self::Service,
        Self::Panicked,
    ];

    /// Its name in spans and metrics: `dial_refused`, say.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DialRefused => "dial_refused",
            Self::DialTimedOut => "dial_timed_out",
            Self::Unreachable => "unreachable",
            Self::DialFailed => "dial_failed",
            Self::ClientGone => "client_gone",
            Self::Service => "service",
            Self::Panicked => "panicked",
        }
    }
}

impl fmt::Display for FailureCause {
    /// As [`as_str`](Self::as_str).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Unserved {
    pub(super) fn why(error: &BoxError) -> Self {
        let error: &(dyn Error + 'static) = error.as_ref();
        if find::<Overloaded>(error).is_some() {
            return Self::ByLimit;
        }
        Self::Failed(match find(error) {
            Some(ForwardError::Dial { source, .. }) => dial(source.as_ref()),
            Some(ForwardError::TimedOut { .. }) => FailureCause::DialTimedOut,
            Some(ForwardError::ClientGone { .. }) => FailureCause::ClientGone,
            Some(ForwardError::Over { .. }) => return Self::Released,
            Some(ForwardError::NotReady { .. }) | None => FailureCause::Service,
        })
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ByLimit => "refused",
            Self::Failed(cause) => cause.as_str(),
            Self::Released => "released",
        }
    }
}

fn dial(error: &(dyn Error + 'static)) -> FailureCause {
    match io_kind(error) {
        Some(ErrorKind::ConnectionRefused) => FailureCause::DialRefused,
        Some(ErrorKind::TimedOut) => FailureCause::DialTimedOut,
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
            FailureCause::Unreachable
        }
        _ => FailureCause::DialFailed,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use portmap_core::{Error, ErrorKind as Kind};

    use super::*;

    fn failed(source: io::Error) -> BoxError {
        let addr = ([192, 0, 2, 1], 80).into();
        ForwardError::Dial { client: addr, addr, source: source.into() }.into()
    }

    #[test]
    fn causes_are_told_apart_by_what_the_dial_said() {
        let cases = [
            (libc(111), FailureCause::DialRefused),
            (libc(110), FailureCause::DialTimedOut),
            (libc(113), FailureCause::Unreachable),
            (libc(101), FailureCause::Unreachable),
            (libc(24), FailureCause::DialFailed),
        ];
        for (error, cause) in cases {
            assert_eq!(Unserved::why(&failed(error)), Unserved::Failed(cause));
        }
        let wrapped = failed(io::Error::other(libc(111)));
        assert_eq!(Unserved::why(&wrapped), Unserved::Failed(FailureCause::DialRefused));
        assert_eq!(Unserved::why(&"mine".into()), Unserved::Failed(FailureCause::Service));
    }

    fn libc(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn a_limit_is_found_behind_other_errors() {
        let wrapped = Error::new(Kind::Middleware, "not now").with_source(Overloaded::new());
        assert_eq!(Unserved::why(&wrapped.into()), Unserved::ByLimit);
        assert_eq!(Unserved::why(&failed(io::Error::other("x"))).as_str(), "dial_failed");
    }

    #[test]
    fn each_cause_has_a_place_of_its_own() {
        for (place, cause) in FailureCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place, "{cause}");
        }
    }
}
