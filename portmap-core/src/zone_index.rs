//! The number of a zone's interface.

use nix::{errno::Errno, net::if_::if_nametoindex};

use crate::Zone;

impl Zone {
    /// The interface's number in the network namespace of the calling thread. A name comes before a number.
    pub(crate) fn index(&self) -> Result<u32, Errno> {
        match if_nametoindex(self.as_str()) {
            Err(Errno::ENODEV) => {
                self.as_str().parse().ok().filter(|index| *index > 0).ok_or(Errno::ENODEV)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_an_interface_by_name_or_number() {
        let zone = |text: &str| text.parse::<Zone>().unwrap();
        assert_eq!(zone("lo").index(), Ok(1));
        assert_eq!(zone("1").index(), Ok(1));
        assert_eq!(zone("0").index(), Err(Errno::ENODEV));
        assert_eq!(zone("no-such").index(), Err(Errno::ENODEV));
    }
}
