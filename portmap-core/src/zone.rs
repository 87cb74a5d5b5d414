//! The link of a link-local address.

use std::{fmt, str::FromStr};

use crate::HostIpError;

/// The longest name of an interface, in bytes: `IFNAMSIZ` without the zero at its end.
const MAX: usize = 15;

/// The link that a link-local address of IPv6 is on: an interface of the host, by name, or by its number (RFC 4007).
///
/// Whether the host has such an interface is not known before the address is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone {
    /// Zeros behind the name: the order is that of the names.
    bytes: [u8; MAX],
}

impl Zone {
    /// The name, or the number, as it was written.
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(MAX);
        str::from_utf8(&self.bytes[..len]).unwrap_or_default()
    }
}

impl FromStr for Zone {
    type Err = HostIpError;

    /// Reads what the kernel takes for the name of an interface, but for `]` and control characters.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let fits =
            |char: char| !char.is_whitespace() && !char.is_control() && !"/:%]".contains(char);
        if name.is_empty()
            || name.len() > MAX
            || [".", ".."].contains(&name)
            || !name.chars().all(fits)
        {
            return Err(HostIpError::NotAnInterface(name.to_owned()));
        }
        let mut bytes = [0; MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_an_interface_by_name_or_number() {
        let zone = |text: &str| text.parse::<Zone>().unwrap();
        assert_eq!(zone("fifteen-bytes-0").to_string(), "fifteen-bytes-0");
    }

    #[test]
    fn what_no_interface_is_called_is_no_zone() {
        for text in
            ["", ".", "..", "a b", "a/b", "a:b", "a%b", "a]b", "a\u{1b}b", "sixteen-bytes-00"]
        {
            let error = text.parse::<Zone>().unwrap_err();
            assert_eq!(error, HostIpError::NotAnInterface(text.to_owned()));
        }
    }
}
