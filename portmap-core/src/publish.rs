//! A request to publish.

mod claims;

use self::claims::named_twice;
use crate::{Endpoint, Error, ErrorKind, Mapping, Reserved, endpoint::is_for_many};

/// A request: one endpoint's mappings, published all or not at all.
///
/// ```
/// # use portmap_core::{Endpoint, PortSpec, Publish};
/// let web = Publish::new(Endpoint::from([172, 17, 0, 2]))
///     .with("8080:80".parse::<PortSpec>()?)
///     .with("127.0.0.1::9090/udp".parse::<PortSpec>()?);
/// # Ok::<(), portmap_core::PortSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    endpoint: Endpoint,
    mappings: Vec<Mapping>,
    /// By the place of the mapping that it is for; shorter where the last mappings have none.
    reserved: Vec<Option<Reserved>>,
}

impl Publish {
    /// A request that publishes nothing yet.
    pub fn new(endpoint: impl Into<Endpoint>) -> Self {
        Self { endpoint: endpoint.into(), mappings: Vec::new(), reserved: Vec::new() }
    }

    /// The request with one more mapping; a [`PortSpec`](crate::PortSpec) is one.
    #[must_use]
    pub fn with(mut self, mapping: impl Into<Mapping>) -> Self {
        self.mappings.push(mapping.into());
        self
    }

    /// The request with one more mapping, whose host ports the caller has reserved: a mapper takes them as they are,
    /// and shares the sockets.
    ///
    /// So one mapper can be asked after another for the same ports. For authors of mappers; see
    /// [`HybridMapper`](crate::HybridMapper).
    #[must_use]
    pub fn with_reserved(mut self, reserved: Reserved) -> Self {
        self.reserved.resize(self.mappings.len(), None);
        self.mappings.push(Mapping::from(reserved.binding()));
        self.reserved.push(Some(reserved));
        self
    }

    /// The host ports that the caller has reserved for the mapping at a place, if it has.
    pub fn reserved(&self, place: usize) -> Option<&Reserved> {
        self.reserved.get(place)?.as_ref()
    }

    /// The container that is to be reached.
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// What is asked for, in the order in which it was asked.
    pub fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }

    /// Rejects requests that can never be right, without touching the host. Every mapper calls this first.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the endpoint is an address that no container can have (unspecified,
    /// multicast, broadcast) or that says not where it is (link-local in IPv6), where a host address is one for many
    /// (multicast, broadcast) or a link-local one of IPv6 without its interface, or where two mappings want one host port
    /// of one address.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |message: String| Err(Error::new(ErrorKind::Invalid, message));
        self.endpoint.check()?;
        for host in self.mappings.iter().flat_map(Mapping::host_addrs) {
            // Nothing can be sent from there, no answer either.
            if is_for_many(host.addr()) {
                return invalid(format!(
                    "{host} is no address to publish on: it is for many hosts"
                ));
            }
            if host.lacks_zone() {
                return invalid(format!(
                    "{host} does not say on which link it is: write {host}%INTERFACE"
                ));
            }
        }
        if let Some((ports, protocol)) = named_twice(&self.mappings) {
            let message = format!("host port {ports}/{protocol} is asked for twice in one request");
            return invalid(message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortSpec;

    fn request(endpoint: &str, specs: &[&str]) -> Publish {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        specs.iter().fold(Publish::new(endpoint), |request, spec| {
            request.with(spec.parse::<PortSpec>().unwrap())
        })
    }

    #[test]
    fn a_port_asked_for_twice_is_invalid() {
        let twice = [
            ["8080:80", "8080:81"],
            ["8080:80", "127.0.0.1:8080:80"],
            ["0.0.0.0:8080:80", "127.0.0.1:8080:80"],
            ["8000-8010:9000-9010", "8005:80"],
            ["[fe80::1%eth0]:8080:80", "[fe80::1%eth0]:8080:81"],
        ];
        for specs in twice {
            let error = request("192.0.2.2", &specs).check().expect_err(specs[1]);
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        let fine = [
            ["8080:80", "8080:80/udp"],
            ["127.0.0.1:8080:80", "127.0.0.2:8080:80"],
            ["0.0.0.0:8080:80", "[::]:8080:80"],
            ["[fe80::1%eth0]:8080:80", "[fe80::1%eth1]:8080:80"],
            ["8080:80", "8080-8090:80"],
            ["80", "80"],
        ];
        for specs in fine {
            request("192.0.2.2", &specs).check().expect(specs[1]);
        }
    }

    #[test]
    fn no_container_has_an_address_for_many() {
        for endpoint in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            let error = request(endpoint, &["80"]).check().expect_err(endpoint);
            assert_eq!(
                error.to_string(),
                format!("{endpoint} cannot be the address of a container")
            );
        }
    }
    #[test]
    fn an_address_that_leads_nowhere_is_invalid() {
        let error = request("192.0.2.2,fe80::1", &["80"]).check().expect_err("link-local");
        assert_eq!(error.to_string(), "fe80::1 does not say on which link the container is");
        for host in ["224.0.0.1", "255.255.255.255", "[ff02::1]"] {
            let error = request("192.0.2.2", &[&format!("{host}::80")]).check().expect_err(host);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("is no address to publish on"), "{error}");
        }
        let error = request("192.0.2.2", &["[fe80::1]:8080:80"]).check().expect_err("no zone");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let message = "fe80::1 does not say on which link it is: write fe80::1%INTERFACE";
        assert_eq!(error.to_string(), message);
        // What cannot be known here is the kernel's to say.
        request("169.254.0.2", &["192.0.2.255::80", "[fe80::1%no-such]::80"]).check().unwrap();
    }
}
