//! Port numbers and ranges of them.

use std::{error, fmt, num::NonZeroU16, ops::RangeInclusive, str::FromStr};

/// A port number: 1 to 65535, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// The lowest port number, 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The highest port number, 65535.
    pub const MAX: Self = Self(NonZeroU16::MAX);

    /// The number itself.
    pub const fn number(self) -> u16 {
        self.0.get()
    }
}

impl From<NonZeroU16> for Port {
    fn from(number: NonZeroU16) -> Self {
        Self(number)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.number()
    }
}

impl TryFrom<u16> for Port {
    type Error = PortError;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        NonZeroU16::new(number).map(Self).ok_or_else(|| PortError::OutOfRange(number.to_string()))
    }
}

impl FromStr for Port {
    type Err = PortError;

    /// Reads decimal digits and nothing else: no sign, no white space.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PortError::NotANumber(text.to_owned()));
        }
        text.parse().map(Self).map_err(|_| PortError::OutOfRange(text.to_owned()))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Neighbouring ports, from a first to a last one that is not below it. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

#[expect(clippy::len_without_is_empty, reason = "a range of ports is never empty")]
impl PortRange {
    /// The ports from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`PortError::Reversed`] where `last` is below `first`.
    pub fn new(first: Port, last: Port) -> Result<Self, PortError> {
        if last < first {
            return Err(PortError::Reversed { first, last });
        }
        Ok(Self { first, last })
    }

    /// The `len` ports that begin with `first`; `None` where that goes past 65535 or `len` is 0.
    pub fn starting_at(first: Port, len: usize) -> Option<Self> {
        let above = u16::try_from(len.checked_sub(1)?).ok()?;
        let last = Port(first.0.checked_add(above)?);
        Some(Self { first, last })
    }

    /// The lowest port.
    pub const fn first(self) -> Port {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> Port {
        self.last
    }

    /// How many ports these are: 1 to 65535.
    pub const fn len(self) -> usize {
        (self.last.number() - self.first.number()) as usize + 1
    }

    /// Whether this is one of the ports.
    pub fn contains(self, port: Port) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether the two have a port in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The port at this place, counted from 0.
    pub fn nth(self, index: usize) -> Option<Port> {
        Self::starting_at(self.first, index.checked_add(1)?)
            .map(Self::last)
            .filter(|port| *port <= self.last)
    }

    /// The place of a port among these, counted from 0.
    pub fn position(self, port: Port) -> Option<usize> {
        self.contains(port).then(|| usize::from(port.number() - self.first.number()))
    }

    /// The ports, from the lowest to the highest.
    pub fn iter(self) -> impl Iterator<Item = Port> + Clone {
        let numbers: RangeInclusive<u16> = self.first.number()..=self.last.number();
        numbers.filter_map(|number| NonZeroU16::new(number).map(Port))
    }
}

impl From<Port> for PortRange {
    fn from(port: Port) -> Self {
        Self { first: port, last: port }
    }
}

impl FromStr for PortRange {
    type Err = PortError;

    /// Reads `80` or `8000-8010`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('-') {
            Some((first, last)) => Self::new(first.parse()?, last.parse()?),
            None => text.parse::<Port>().map(Self::from),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Why something is not a [`Port`] or a [`PortRange`].
///
/// Displayed as the end of a sentence that begins with what the port was for:
/// "host port" + "70000 is not between 1 and 65535".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortError {
    /// A number below 1 or above 65535.
    OutOfRange(String),
    /// Not decimal digits, or nothing at all.
    NotANumber(String),
    /// A range whose end is below its start.
    Reversed {
        /// The number that stands first.
        first: Port,
        /// The number that stands last, and is lower.
        last: Port,
    },
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(text) => write!(f, "{text} is not between 1 and 65535"),
            Self::NotANumber(text) if text.is_empty() => write!(f, "is missing"),
            Self::NotANumber(text) => write!(f, "{text:?} is not a number"),
            Self::Reversed { first, last } => {
                write!(f, "range {first}-{last} ends below its start")
            }
        }
    }
}

impl error::Error for PortError {}
