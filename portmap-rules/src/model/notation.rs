//! Networks as people write them.

use std::{error, fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use crate::{GatewayMode, InterfaceError, Network, NetworkError, Subnet};

impl FromStr for Network {
    type Err = NetworkParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (bridge, rest) = text.split_once('=').ok_or(NetworkParseError::NoSubnet)?;
        let bridge = bridge.parse().map_err(NetworkParseError::Bridge)?;
        let (mut network, mut gateways) = (None::<Self>, Vec::new());
        let mut options = Vec::new();
        for part in rest.split(',') {
            if part.contains('/') {
                let subnet = part
                    .parse::<IpNet>()
                    .map_err(|_| NetworkParseError::Subnet(part.to_owned()))?;
                let subnet = Subnet::new(subnet)?;
                network = Some(match network {
                    None => Self::new(bridge, subnet),
                    Some(network) => network.with_subnet(subnet)?,
                });
            } else if let Some(addr) = part.strip_prefix("gateway=") {
                let wrong = |_| NetworkParseError::Gateway(addr.to_owned());
                gateways.push(addr.parse::<IpAddr>().map_err(wrong)?);
            } else {
                options.push(part);
            }
        }
        let mut network = network.ok_or(NetworkParseError::NoSubnet)?;
        for gateway in gateways {
            network = network.with_gateway(gateway)?;
        }
        options.into_iter().try_fold(network, option)
    }
}

fn option(network: Network, part: &str) -> Result<Network, NetworkParseError> {
    Ok(match part.split_once('=').unwrap_or((part, "")) {
        ("icc", "off") => network.without_icc(),
        ("icc", "on") => network,
        ("internal", "") if part == "internal" => network.internal(),
        ("mode", mode) => network.with_mode(mode.parse()?),
        ("trusted", name) => network.trusting(name.parse().map_err(NetworkParseError::Trusted)?),
        _ => return Err(NetworkParseError::Option(part.to_owned())),
    })
}

impl FromStr for GatewayMode {
    type Err = NetworkParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Nat, Self::NatUnprotected, Self::Routed]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| NetworkParseError::Mode(text.to_owned()))
    }
}

impl GatewayMode {
    /// `nat`, `nat-unprotected` or `routed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::NatUnprotected => "nat-unprotected",
            Self::Routed => "routed",
        }
    }
}

impl fmt::Display for GatewayMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Network {
    /// The notation, without what is the default anyway.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bridge())?;
        for (place, subnet) in self.subnets().enumerate() {
            write!(f, "{}{}", if place == 0 { '=' } else { ',' }, subnet.net())?;
        }
        for subnet in self.subnets() {
            if Subnet::new(subnet.net()) != Ok(subnet) {
                write!(f, ",gateway={}", subnet.gateway())?;
            }
        }
        if !self.icc() {
            f.write_str(",icc=off")?;
        }
        if self.is_internal() {
            f.write_str(",internal")?;
        }
        if self.mode() != GatewayMode::default() {
            write!(f, ",mode={}", self.mode())?;
        }
        self.trusted().iter().try_for_each(|interface| write!(f, ",trusted={interface}"))
    }
}

/// Why a text is not a [`Network`]: one variant for each part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkParseError {
    /// The bridge cannot be called so.
    Bridge(InterfaceError),
    /// No subnet is given.
    NoSubnet,
    /// A part with a `/` is not a subnet.
    Subnet(String),
    /// What stands behind `gateway=` is not an IP address.
    Gateway(String),
    /// What stands behind `mode=` is not a [`GatewayMode`].
    Mode(String),
    /// What stands behind `trusted=` is not an interface.
    Trusted(InterfaceError),
    /// A part that means nothing.
    Option(String),
    /// Every part can be read, but they don't make a network.
    Network(NetworkError),
}

impl From<NetworkError> for NetworkParseError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

impl fmt::Display for NetworkParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(_) => f.write_str("the bridge cannot be called so"),
            Self::NoSubnet => f.write_str("a network is written BRIDGE=SUBNET"),
            Self::Subnet(text) => write!(f, "{text:?} is not a subnet"),
            Self::Gateway(text) => write!(f, "gateway {text:?} is not an IP address"),
            Self::Mode(text) => write!(f, "mode {text:?} is not nat, nat-unprotected or routed"),
            Self::Trusted(_) => f.write_str("a trusted interface cannot be called so"),
            Self::Option(text) => write!(f, "{text:?} is not a part of a network"),
            Self::Network(_) => f.write_str("the network is wrong"),
        }
    }
}

impl error::Error for NetworkParseError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Bridge(error) | Self::Trusted(error) => Some(error),
            Self::Network(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn error(text: &str) -> NetworkParseError {
        text.parse::<Network>().expect_err(text)
    }

    #[test]
    fn a_wrong_part_is_named() {
        use NetworkParseError as E;
        assert!(matches!(error("b r=192.0.2.0/24"), E::Bridge(_)));
        for text in ["bridge1", "bridge1=", "bridge1=icc=off"] {
            assert!(matches!(error(text), E::NoSubnet | E::Option(_)), "{text}");
        }
        let net = "192.0.2.1/24".parse().unwrap();
        assert_eq!(error("br=192.0.2.1/24"), E::Network(NetworkError::HostBits(net)));
        assert_eq!(error("br=192.0.2.0/33"), E::Subnet("192.0.2.0/33".into()));
        assert_eq!(error("br=192.0.2.0/24,gateway=x"), E::Gateway("x".into()));
        let outside = NetworkError::GatewayOutside("10.0.0.1".parse().unwrap());
        assert_eq!(error("br=192.0.2.0/24,gateway=10.0.0.1"), E::Network(outside));
        assert_eq!(error("br=192.0.2.0/24,mode=bridge"), E::Mode("bridge".into()));
        assert_eq!(error("br=192.0.2.0/24,internal="), E::Option("internal=".into()));
        assert!(matches!(error("br=192.0.2.0/24,trusted="), E::Trusted(InterfaceError::Empty)));
        let twice = error("br=192.0.2.0/24,198.51.100.0/24");
        assert!(matches!(twice, E::Network(NetworkError::SameFamily { .. })));
        assert!(matches!(error("br=192.0.2.0/32"), E::Network(NetworkError::NoRoom(_))));
    }

    #[test]
    fn what_is_the_default_anyway_is_not_displayed() {
        let text = "br=2001:db8::/64,192.0.2.0/24,icc=on,gateway=192.0.2.1,mode=nat";
        let network: Network = text.parse().unwrap();
        assert_eq!(network.to_string(), "br=192.0.2.0/24,2001:db8::/64");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<Network>();
        }

        #[test]
        fn whatever_is_read_is_displayed_so_that_it_reads_the_same(
            parts in vec("[0-9a-f:.]{1,8}/[0-9]{1,3}|192\\.0\\.2\\.0/2[4-9]|2001:db8::/64|gateway=[0-9a-f:.]{1,9}|icc=(on|off)|internal|mode=(nat|nat-unprotected|routed)|trusted=[a-z0-9. -]{1,17}", 0..5),
        ) {
            let text = format!("br0=192.0.2.0/24,{}", parts.join(","));
            for text in [text.as_str(), text.trim_end_matches(',')] {
                if let Ok(network) = text.parse::<Network>() {
                    prop_assert_eq!(network.to_string().parse(), Ok(network));
                }
            }
        }
    }
}
