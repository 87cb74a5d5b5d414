//! Names of network interfaces.

use std::{error, fmt, str::FromStr};

/// The longest name that the kernel takes, in bytes: `IFNAMSIZ` without its NUL.
const MAX: usize = 15;

/// The name of a network interface: 1 to 15 bytes that the kernel and both rule languages read alike.
///
/// Narrower than the kernel, which takes any byte but white space, `/` and `:`. A trailing `+` (iptables) or `*`
/// (nftables) would match other interfaces as well, and a quote or a `=` would end the name in a
/// rule or in [`Network`](crate::Network)'s notation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface {
    /// Zeros behind the name: the order is that of the names.
    bytes: [u8; MAX],
}

impl Interface {
    /// The loopback interface.
    pub const LO: Self = Self { bytes: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0" };

    /// The name.
    pub fn name(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(MAX);
        str::from_utf8(&self.bytes[..len]).unwrap_or_default()
    }
}

impl FromStr for Interface {
    type Err = InterfaceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.is_empty() {
            return Err(InterfaceError::Empty);
        }
        if name.len() > MAX {
            return Err(InterfaceError::TooLong(name.to_owned()));
        }
        // `all` and `default` are not interfaces but what net.ipv4.conf has for all of them.
        if [".", "..", "all", "default"].contains(&name) {
            return Err(InterfaceError::Directory(name.to_owned()));
        }
        let fits = |char: char| char.is_ascii_graphic() && !r#"/:"'\+*!=,"#.contains(char);
        if let Some(char) = name.chars().find(|char| !fits(*char)) {
            return Err(InterfaceError::Character { name: name.to_owned(), char });
        }
        if name.starts_with('-') {
            return Err(InterfaceError::Character { name: name.to_owned(), char: '-' });
        }
        let mut bytes = [0; MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes })
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interface({:?})", self.name())
    }
}

/// Why a text is not the name of an [`Interface`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterfaceError {
    /// Nothing at all.
    Empty,
    /// More than 15 bytes.
    TooLong(String),
    /// `.` or `..`, which name directories where the kernel keeps an interface's settings.
    Directory(String),
    /// A character that the kernel refuses or that a rule language reads as something else.
    Character {
        /// The whole name.
        name: String,
        /// The first such character.
        char: char,
    },
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name of an interface is missing"),
            Self::TooLong(name) => write!(f, "interface name {name:?} is longer than {MAX} bytes"),
            Self::Directory(name) => write!(f, "{name:?} cannot name an interface"),
            Self::Character { name, char } => {
                write!(f, "interface name {name:?} has {char:?} in it")
            }
        }
    }
}

impl error::Error for InterfaceError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_kernel_or_a_tool_would_misread_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "all",
            "default",
            "br 0",
            "br\n0",
            "br/0",
            "br:0",
            "br+",
            "br*",
            "sixteen-bytes-xx",
        ] {
            name.parse::<Interface>().expect_err(name);
        }
        for name in ["docker0", "bridge1", "br-0a1b2c3d4e5f", "eth0.100", "a"] {
            assert_eq!(name.parse::<Interface>().unwrap().name(), name);
        }
    }

    #[test]
    fn interfaces_are_ordered_by_name() {
        let mut names: Vec<Interface> =
            ["eth0", "br10", "br1", "lo"].map(|name| name.parse().unwrap()).into();
        names.sort();
        assert_eq!(
            names.iter().map(Interface::name).collect::<Vec<_>>(),
            ["br1", "br10", "eth0", "lo"]
        );
        assert_eq!(Interface::LO.name(), "lo");
    }
}
