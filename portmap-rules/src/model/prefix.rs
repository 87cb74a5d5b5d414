//! Whose rules they are.

use std::{error, fmt, str::FromStr};

/// Whose rules they are: iptables chains begin with it, the nftables table is called so in lower case.
///
/// Not the name of a built-in chain or target; 1 to 10 letters, digits, `-` and `_`, a letter first: iptables allows 28 bytes to a chain, and the longest one
/// appends `-ISOLATION-STAGE-2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

/// What a chain of iptables cannot be called.
const RESERVED: [&str; 16] = [
    "PREROUTING",
    "INPUT",
    "FORWARD",
    "OUTPUT",
    "POSTROUTING",
    "ACCEPT",
    "DROP",
    "RETURN",
    "QUEUE",
    "REJECT",
    "LOG",
    "MARK",
    "DNAT",
    "SNAT",
    "MASQUERADE",
    "REDIRECT",
];

impl Prefix {
    /// The longest prefix, in bytes.
    pub const MAX_LEN: usize = 10;

    /// The prefix as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    /// `PORTMAP`
    fn default() -> Self {
        Self("PORTMAP".to_owned())
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        let letter_first = text.starts_with(|char: char| char.is_ascii_alphabetic());
        let is_name = text.len() <= Self::MAX_LEN && letter_first && text.chars().all(fits);
        match is_name && !is_reserved(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(PrefixError(text.to_owned())),
        }
    }
}

fn is_reserved(text: &str) -> bool {
    RESERVED.iter().any(|name| name.eq_ignore_ascii_case(text))
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What was read is not a [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixError(String);

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        match is_reserved(text) {
            true => write!(f, "prefix {text:?} is a name that iptables has for itself"),
            false => {
                let more = Prefix::MAX_LEN - 1;
                write!(
                    f,
                    "prefix {text:?} is not a letter and up to {more} letters, digits, - or _"
                )
            }
        }
    }
}

impl error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_leaves_room_for_the_longest_chain() {
        let longest = "A".repeat(Prefix::MAX_LEN).parse::<Prefix>().unwrap();
        assert!(format!("{longest}-ISOLATION-STAGE-2").len() <= 28);
        for text in ["", "ELEVEN-BYTE", "1ST", "-A", "A B", "A\nB", "Ä", "INPUT", "Accept"] {
            text.parse::<Prefix>().expect_err(text);
        }
    }

    #[test]
    fn what_is_wrong_with_a_prefix_is_said() {
        let said = |text: &str| text.parse::<Prefix>().unwrap_err().to_string();
        let rule = "prefix \"1ST\" is not a letter and up to 9 letters, digits, - or _";
        assert_eq!(said("1ST"), rule);
        assert_eq!(said("Accept"), "prefix \"Accept\" is a name that iptables has for itself");
    }
}
