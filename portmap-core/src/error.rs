//! The one error type of publishing.

use std::{borrow::Cow, error, fmt};

use crate::{
    EndpointError, Foreign, HostIpError, MappingError, PortError, PortSpecError, UnknownProtocol,
};

/// Any error, as tower's middleware has it.
pub type BoxError = Box<dyn error::Error + Send + Sync>;

/// Why something could not be published or released.
///
/// [`kind`](Self::kind) is for programs. [`Display`](fmt::Display) prints one level, for people, and with `{:#}` all of them, as
/// [`WithCauses`] does for every error; [`source`](error::Error::source) carries the causes below it.
///
/// The kind survives tower middleware: an `Error` that comes back inside a [`BoxError`] is found again
/// by `From<BoxError>`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<BoxError>,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A host port is taken. The message names the holder where that can be seen.
    AddrInUse,
    /// A host address is not one of this host's.
    AddrNotAvailable,
    /// The process lacks a privilege; the message says which.
    Denied,
    /// The request is wrong, whatever state the host is in.
    Invalid,
    /// This mapper cannot do what was asked; another one may.
    Unsupported,
    /// A limit of the process or the host is reached; the message says which.
    Exhausted,
    /// The kernel, or a tool that stands for it, failed in a way that has no kind of its own.
    Backend,
    /// Somebody else has what only one can have.
    Busy,
    /// The mapper has ended.
    Closed,
    /// Middleware around the mapper failed: a time limit, load shedding.
    Middleware,
}

impl Error {
    /// An error with a message of one line, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// The same error, caused by `source`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if f.alternate() { write_causes(f, self) } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

impl From<BoxError> for Error {
    /// An `Error` comes out as it went in. Around an `Error` further down the chain of causes its kind is
    /// kept; anything else is [`ErrorKind::Middleware`].
    fn from(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(own) => return *own,
            Err(other) => other,
        };
        let mut cause = error.source();
        while let Some(source) = cause {
            if let Some(own) = source.downcast_ref::<Self>() {
                return Self::new(own.kind(), "publishing failed behind middleware")
                    .with_source(error);
            }
            cause = source.source();
        }
        Self::new(ErrorKind::Middleware, "middleware around the mapper failed").with_source(error)
    }
}

/// An error and its causes on one line, for a log: `a: b: c`. What others have put into their texts is escaped, as
/// [`Foreign`] does it.
#[derive(Clone, Copy, Debug)]
pub struct WithCauses<'a>(pub &'a (dyn error::Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Foreign::new(self.0))?;
        write_causes(f, self.0)
    }
}

fn write_causes(f: &mut fmt::Formatter<'_>, error: &dyn error::Error) -> fmt::Result {
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {}", Foreign::new(error))?;
        cause = error.source();
    }
    Ok(())
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
    PortSpecError: "the port specification is wrong",
    MappingError: "the mapping is wrong",
    EndpointError: "the endpoint is wrong",
    HostIpError: "the host address is wrong",
    PortError: "the port is wrong",
    UnknownProtocol: "the protocol is wrong",
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[derive(Debug)]
    struct Around(Error);

    impl fmt::Display for Around {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("buffered")
        }
    }

    impl error::Error for Around {
        fn source(&self) -> Option<&(dyn error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_kind_survives_middleware() {
        let taken = || Error::new(ErrorKind::AddrInUse, "taken");
        let boxed = Error::from(BoxError::from(taken()));
        assert_eq!((boxed.kind(), boxed.to_string().as_str()), (ErrorKind::AddrInUse, "taken"));

        let wrapped = Error::from(BoxError::from(Around(taken())));
        assert_eq!(wrapped.kind(), ErrorKind::AddrInUse);
        assert_eq!(wrapped.source().unwrap().to_string(), "buffered");

        assert_eq!(Error::from(BoxError::from("elapsed")).kind(), ErrorKind::Middleware);
    }

    #[test]
    fn an_error_of_others_stays_on_its_line() {
        let error = Error::new(ErrorKind::Backend, "refused").with_source("\u{1b}[2J\nroot# ");
        assert_eq!(WithCauses(&error).to_string(), r"refused: \u{1b}[2J\nroot# ");
        assert_eq!(format!("{error:#}"), r"refused: \u{1b}[2J\nroot# ");
    }

    #[test]
    fn display_prints_one_level_and_the_rest_are_causes() {
        let error = Error::from("70000:80".parse::<crate::PortSpec>().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "the port specification is wrong");
        let cause = error.source().unwrap().to_string();
        assert_eq!(cause, "host port 70000 is not between 1 and 65535");
        let line = format!("the port specification is wrong: {cause}");
        assert_eq!(WithCauses(&error).to_string(), line);
        assert_eq!(format!("{error:#}"), line);
    }
}
