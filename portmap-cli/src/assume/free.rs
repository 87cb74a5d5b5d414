//! Which host ports would still be free.

use std::collections::HashMap;

use portmap::{Binding, HostAddr, Mapping, Port, PortRange, Protocol, Publish};

use super::at;

/// The ports that bindings have, and from where on there may be free ones: there may be tens of thousands.
#[derive(Debug, Default)]
pub(super) struct Free {
    /// Who has each port, by its addresses.
    taken: HashMap<(Protocol, Port), Vec<HostAddr>>,
    /// Where the last search of a kind ended: what was taken before stays taken.
    from: HashMap<Search, Port>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Search {
    protocol: Protocol,
    hosts: Vec<HostAddr>,
    ports: PortRange,
    len: usize,
}

impl Free {
    /// The bindings with the lowest ports of these that no other one has; none where there are none.
    pub(super) fn first_of(
        &mut self,
        ports: PortRange,
        request: &Publish,
        mapping: &Mapping,
    ) -> Vec<Binding> {
        let (protocol, len) = (mapping.protocol(), mapping.container_ports().len());
        let search = Search { protocol, hosts: mapping.host().collect(), ports, len };
        let from = self.from.get(&search).copied().unwrap_or(ports.first());
        let numbers = PortRange::new(from, ports.last()).into_iter().flat_map(PortRange::iter);
        for first in numbers {
            let block = at(request, mapping, first);
            if !block.is_empty() && block.iter().all(|binding| self.has(binding)) {
                self.from.insert(search, first);
                return block;
            }
        }
        self.from.insert(search, ports.last());
        Vec::new()
    }

    /// Whether nobody has one of a binding's ports.
    fn has(&self, binding: &Binding) -> bool {
        binding.host_ports().iter().all(|port| {
            let others = self.taken.get(&(binding.protocol(), port));
            others
                .is_none_or(|others| !others.iter().any(|host| host.overlaps(binding.host_addr())))
        })
    }

    pub(super) fn take(&mut self, block: &[Binding]) {
        for binding in block {
            for port in binding.host_ports().iter() {
                let hosts = self.taken.entry((binding.protocol(), port)).or_default();
                hosts.push(binding.host_addr());
            }
        }
    }
}
