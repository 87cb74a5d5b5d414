//! A node's addresses, routes and settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressScope};

use super::Node;
use crate::error::{LabError, Step};
use crate::link;
use crate::ndisc;

impl Node {
    /// Its main IPv4 address.
    ///
    /// # Panics
    /// When it has none: a [`Node::new`] that was never plugged into a bridge.
    pub fn addr4(&self) -> Ipv4Addr {
        match self.inner.main4.get() {
            Some(address) => *address,
            None => panic!("node {} has no IPv4 address", self.name()),
        }
    }

    /// Its main IPv6 address.
    ///
    /// # Panics
    /// When it has none: its bridge has no IPv6 subnet, or it was never plugged into one.
    pub fn addr6(&self) -> Ipv6Addr {
        match self.inner.main6.get() {
            Some(address) => *address,
            None => panic!("node {} has no IPv6 address", self.name()),
        }
    }

    /// Its main addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let main4 = self.inner.main4.get().map(|address| IpAddr::V4(*address));
        let main6 = self.inner.main6.get().map(|address| IpAddr::V6(*address));
        main4.into_iter().chain(main6).collect()
    }

    /// Adds an address to a link, usable at once. The first of each family becomes the main one.
    ///
    /// # Errors
    /// The kernel's refusal: no such link, the address is there already, IPv6 is off.
    pub async fn add_address(&self, link: &str, address: IpNet) -> Result<(), LabError> {
        let index = link::index(self.netlink(), link).await?;
        self.give_address(link, index, address).await?;
        self.adopt(address.addr());
        Ok(())
    }

    /// Adds a route to a subnet by way of a neighbour.
    ///
    /// # Errors
    /// The kernel's refusal: `via` is no neighbour, the route is there already.
    pub async fn add_route(&self, to: IpNet, via: IpAddr) -> Result<(), LabError> {
        link::add_route(self.netlink(), to, via).await
    }

    /// Sets a sysctl of the namespace, named by its path: `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// The kernel's refusal, or `/proc/sys` is mounted read-only.
    pub async fn sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let step = format!("set {name} = {value} in {}", self.name());
        let (path, value) = (sysctl_path(name), value.to_owned());
        self.run(async move { std::fs::write(path, value) }).await.step(|| step)
    }

    /// Reads a sysctl of the namespace, without the line's end.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn read_sysctl(&self, name: &str) -> Result<String, LabError> {
        let path = sysctl_path(name);
        let value = self.run(async move { std::fs::read_to_string(path) }).await;
        Ok(value.step(|| format!("read {name} in {}", self.name()))?.trim_end().to_owned())
    }

    /// Adds an address that doesn't become a main one, and waits until neighbours get an answer.
    pub(crate) async fn give_address(
        &self,
        link: &str,
        index: u32,
        address: IpNet,
    ) -> Result<(), LabError> {
        link::add_address(self.netlink(), index, address).await?;
        let IpAddr::V6(address) = address.addr() else {
            return Ok(());
        };
        if link::is_solicited(self.netlink(), index).await? {
            ndisc::answers(self, link, address).await?;
        }
        Ok(())
    }

    pub(crate) fn adopt(&self, address: IpAddr) {
        // The first one stays: a second address doesn't change who the node is.
        let _ = match address {
            IpAddr::V4(address) => self.inner.main4.set(address).is_ok(),
            IpAddr::V6(address) => self.inner.main6.set(address).is_ok(),
        };
    }

    pub(super) async fn adopt_present_addresses(&self) -> Result<(), LabError> {
        let mut dump = self.netlink().address().get().execute();
        while let Some(message) = dump.try_next().await.step(|| "list addresses".to_owned())? {
            if message.header.scope != AddressScope::Universe {
                continue;
            }
            for attribute in message.attributes {
                // IFA_LOCAL is the own address of an IPv4 link; IPv6 has IFA_ADDRESS alone.
                match attribute {
                    AddressAttribute::Local(address) => self.adopt(address),
                    AddressAttribute::Address(address @ IpAddr::V6(_)) => self.adopt(address),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn sysctl_path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}
