//! Sets, maps and their elements in nftables' words.

use std::fmt::{self, Display as _};

use super::nft_rule::KeyTypes;
use crate::{Data, DataType, Family, Set, Value, Verdict};

/// `set` or `map`.
pub(super) const fn kind(set: &Set) -> &'static str {
    if set.data.is_some() { "map" } else { "set" }
}

/// `inet_proto . inet_service : ipv4_addr . inet_service`
pub(super) struct TypeText<'a>(pub(super) &'a Set);

impl fmt::Display for TypeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        KeyTypes(&self.0.key).fmt(f)?;
        match self.0.data {
            None => Ok(()),
            Some(DataType::Verdict) => f.write_str(" : verdict"),
            Some(DataType::Addr(family)) => write!(f, " : {}", address(family)),
            Some(DataType::AddrPort(family)) => write!(f, " : {} . inet_service", address(family)),
        }
    }
}

/// `tcp . 8080 : 192.0.2.2 . 80`
pub(super) struct ElementText<'a>(pub(super) &'a [Value], pub(super) Option<Data>);

impl fmt::Display for ElementText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(values, data) = self;
        for (place, value) in values.iter().enumerate() {
            f.write_str(if place > 0 { " . " } else { "" })?;
            write_value(f, value)?;
        }
        match data {
            None => Ok(()),
            Some(Data::Verdict(Verdict::Accept)) => f.write_str(" : accept"),
            Some(Data::Verdict(Verdict::Drop)) => f.write_str(" : drop"),
            Some(Data::Addr(addr)) => write!(f, " : {addr}"),
            Some(Data::AddrPort(addr, port)) => write!(f, " : {addr} . {port}"),
        }
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Interface(interface) => write!(f, "\"{interface}\""),
        Value::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
        Value::Net(net) => net.fmt(f),
        Value::Protocol(protocol) => protocol.fmt(f),
        Value::Ports(ports) => ports.fmt(f),
    }
}

pub(super) const fn address(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4_addr",
        Family::Ipv6 => "ipv6_addr",
    }
}
