//! What the webapp answers, as data.

use std::fmt;
use std::net::IpAddr;

/// The webapp's answer: which container it is, and who it thinks is calling.
///
/// `Display` is the text that goes over the wire, two lines:
/// ```text
/// Hostname: web
/// Remote IP: 172.17.0.1
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The name of the container that answered.
    pub hostname: String,
    /// The peer's address as the container saw it, never v4-mapped.
    pub remote_ip: IpAddr,
}

impl Page {
    pub(crate) fn new(hostname: &str, remote_ip: IpAddr) -> Self {
        Self { hostname: hostname.to_owned(), remote_ip: remote_ip.to_canonical() }
    }

    /// Reads the two lines; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let hostname = lines.next()?.strip_prefix("Hostname: ")?;
        let remote_ip = lines.next()?.strip_prefix("Remote IP: ")?.parse().ok()?;
        lines.next().is_none().then(|| Self { hostname: hostname.to_owned(), remote_ip })
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Hostname: {}", self.hostname)?;
        writeln!(f, "Remote IP: {}", self.remote_ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_survives_the_wire() {
        for address in ["172.17.0.1", "fd00:172:17::1"] {
            let page = Page::new("web", address.parse().unwrap());
            assert_eq!(Page::parse(&page.to_string()), Some(page));
        }
    }

    #[test]
    fn a_mapped_address_is_shown_as_ipv4() {
        let page = Page::new("web", "::ffff:192.0.2.1".parse().unwrap());
        assert_eq!(page.to_string(), "Hostname: web\nRemote IP: 192.0.2.1\n");
    }

    #[test]
    fn anything_else_is_no_page() {
        for text in [
            "",
            "Hostname: web\n",
            "Hostname: web\nRemote IP: x\n",
            "Hostname: w\nRemote IP: ::1\nmore",
        ] {
            assert_eq!(Page::parse(text), None, "{text:?}");
        }
    }
}
