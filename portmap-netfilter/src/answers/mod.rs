//! The way of answers on a host that routes by source.

mod marking;
mod routes;
mod table;

use std::{collections::BTreeSet, io};

use ipnet::IpNet;
use portmap_core::{Error, ErrorKind, WithCauses};
use portmap_rules::{Interface, Mark, Network, Ruleset, TableId};
use tracing::{info, warn};

use self::{
    marking::Marking,
    routes::{Marked, Routes},
    table::ruleset,
};
use crate::{Nftables, NftablesError, TableOwner};

/// The bits of a mark that say which address was called. Beside those of
/// [`TransparentRouting`](crate::TransparentRouting), and a mask that nobody else is known to have.
const MASK: u32 = 0x1e00;
/// How many addresses or nets the bits tell apart; a mark of 0 is none.
const MOST: usize = 15;

/// Has answers of containers leave as the host's own would leave from the address that was called.
///
/// NAT gives an answer the address that was called when it leaves, which is after routing: rules of policy routing that go by
/// this host's addresses (`ip rule add from 192.0.2.1 table 200`, a second uplink) don't hold for it, and it leaves by the
/// wrong one. So where there are such rules,
/// * an nftables table `portmap-answers` of the process's own marks answers from published containers by the address that was
///   called, which connection tracking knows. All other bits of a mark stay as they are;
/// * each such rule of policy routing gets a twin, behind it, that goes by the mark.
///
/// There is one in a network namespace, whose the twins are too: a mapper that comes second leaves both alone. It works beside iptables too. Where the process is killed the table ends with it; the
/// twins stay, do nothing without a mark, and are taken over by the next one.
#[derive(Debug)]
pub(crate) struct AnswerRouting {
    routes: Routes,
    /// The table: had before the first twin is added, and until the last one is removed.
    marking: Option<Marking>,
    networks: Vec<Network>,
}

/// An address or a net of this host that has a way of its own, and the mark of answers from there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Called {
    net: IpNet,
    mark: Mark,
}

impl AnswerRouting {
    /// In the network namespace of the calling thread. Nothing is done yet.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { routes: Routes::open()?, marking: None, networks: Vec::new() })
    }

    /// Looks which rules of policy routing there are now, and has answers of containers in these networks go by them. A failure
    /// is no reason not to publish: it is logged.
    ///
    /// # Cancel safety
    /// Where it was dropped, the next call settles what is left to do.
    pub(crate) async fn lead(&mut self, networks: &[Network]) {
        self.networks = networks.iter().filter(|it| it.has_nat()).cloned().collect();
        self.settle().await;
    }

    /// Leaves the containers behind a bridge alone; with the last one everything is taken back.
    ///
    /// # Cancel safety
    /// As [`lead`](Self::lead).
    pub(crate) async fn leave(&mut self, bridge: Interface) {
        self.networks.retain(|network| network.bridge() != bridge);
        if self.marking.is_some() {
            self.settle().await;
        }
    }

    async fn settle(&mut self) {
        if let Err(error) = self.try_settle().await {
            let error = WithCauses(&error).to_string();
            warn!(error, "answers of containers may leave by another uplink than the call came by");
        }
    }

    async fn try_settle(&mut self) -> Result<(), Error> {
        let found = self.routes.list().await.map_err(by_routing)?;
        let own: Vec<_> =
            self.networks.iter().flat_map(Network::subnets).map(|it| it.net()).collect();
        let by_source = if own.is_empty() { Vec::new() } else { found.by_source };
        // What goes by a container's own address holds for its answers as it is.
        let nets: BTreeSet<_> = by_source
            .iter()
            .map(|rule| rule.from)
            .filter(|net| !own.iter().any(|own| own.contains(net)))
            .collect();
        if nets.len() > MOST {
            warn!(
                rules = nets.len(),
                "policy routing has more sources than answers can be told apart by"
            );
        }
        let called: Vec<Called> = nets
            .into_iter()
            .take(MOST)
            .zip(1..)
            .map(|(net, number)| Called {
                net,
                mark: Mark { value: number << MASK.trailing_zeros(), mask: MASK },
            })
            .collect();
        let mut wanted = Vec::new();
        for one in &called {
            let around = by_source.iter().filter(|rule| rule.from.contains(&one.net));
            wanted
                .extend(around.map(|rule| Marked { mark: one.mark.value, way: rule.way.clone() }));
        }
        self.write(ruleset(&self.networks, &called), &found.marked, &wanted).await
    }

    /// Has these rules and these twins in force. Twins belong to who has the table: they come after it, and go before it.
    async fn write(
        &mut self,
        rules: Ruleset,
        found: &[Marked],
        wanted: &[Marked],
    ) -> Result<(), Error> {
        if self.marking.is_none() {
            if rules.is_empty() {
                return Ok(());
            }
            let nftables = Nftables::open(TableOwner::Socket).map_err(by_nftables)?;
            let marking = Marking::begin(nftables, rules.clone()).await.map_err(by_nftables)?;
            info!("this host routes by source: answers of containers go the way the call came");
            self.marking = Some(marking);
        }
        // A twin does nothing before there is a mark, nor after.
        for twin in wanted.iter().filter(|twin| !found.contains(twin)) {
            self.routes.add(twin).await.map_err(by_routing)?;
        }
        let is_over = rules.is_empty();
        if let Some(marking) = &mut self.marking
            && !is_over
        {
            marking.write(rules).await.map_err(by_nftables)?;
        }
        for twin in found.iter().filter(|twin| !wanted.contains(twin)) {
            self.routes.remove(twin).await.map_err(by_routing)?;
        }
        if is_over && let Some(marking) = self.marking.take() {
            marking.end().await;
        }
        Ok(())
    }
}

/// The table's name: there can be but one of it.
fn table_id() -> TableId {
    TableId { family: portmap_rules::TableFamily::Inet, name: "portmap-answers".into() }
}

fn by_routing(error: io::Error) -> Error {
    let message = "policy routing could not be read or changed";
    Error::new(ErrorKind::Backend, message).with_source(error)
}

fn by_nftables(error: NftablesError) -> Error {
    let message = "the table that marks answers could not be changed";
    Error::new(error.kind(), message).with_source(error)
}

#[cfg(all(test, feature = "netns"))]
mod tests {
    use std::process::Command;

    use portmap_rules::Layout;
    use tokio::runtime::Builder;

    use super::*;
    use crate::netlink::{
        Socket,
        lossy::{Fate, Fates, Lossy, in_namespace},
    };

    #[test]
    fn a_second_mapper_leaves_the_twins_of_the_first_alone() {
        on_a_host_that_routes_by_source(async || {
            let network: Network = "br0=192.0.2.0/24".parse().unwrap();
            let other: Network = "br1=198.51.100.0/24".parse().unwrap();
            let before = ip("-4 rule show");
            let mut first = AnswerRouting::open().unwrap();
            first.lead(std::slice::from_ref(&network)).await;
            assert!(first.marking.is_some());
            let led = ip("-4 rule show");
            assert_eq!(led.matches("fwmark").count(), 1, "{led}");

            ip("-4 rule add from 203.0.113.8 table 201 pref 1001");
            let led = ip("-4 rule show");
            let mut second = AnswerRouting::open().unwrap();
            second.lead(std::slice::from_ref(&other)).await;
            assert!(second.marking.is_none());
            assert_eq!(ip("-4 rule show"), led);
            second.leave(other.bridge()).await;
            assert_eq!(ip("-4 rule show"), led);

            ip("-4 rule del from 203.0.113.8 table 201 pref 1001");
            first.leave(network.bridge()).await;
            assert!(first.marking.is_none());
            assert_eq!(ip("-4 rule show"), before);
            second.lead(&[other]).await;
            assert_eq!(ip("-4 rule show"), led_by_one(&before));
        });
    }

    #[test]
    fn a_lost_answer_is_settled() {
        for fate in [Fate::Unheard, Fate::Vanished] {
            in_namespace(move || {
                let fates = Fates::default();
                let socket = Socket::open().expect("there is netfilter");
                let nftables = Nftables::over(Lossy::new(socket, &fates));
                let runtime = Builder::new_current_thread().build().expect("a runtime");
                runtime.block_on(async {
                    fates.are([fate, Fate::Answered, fate]);
                    let mut marking = Marking::begin(nftables, rules(&["br0"])).await.unwrap();
                    marking.write(rules(&["br0", "br1"])).await.unwrap();
                    assert!(fates.are_over());
                    // It is not known still, and settled by the next one.
                    fates.are([fate, Fate::Unsent]);
                    marking.write(rules(&["br1"])).await.unwrap_err();
                    marking.write(rules(&["br0"])).await.unwrap();
                    marking.write(rules(&["br0", "br1"])).await.unwrap();
                    marking.end().await;
                });
            });
        }
    }

    fn rules(bridges: &[&str]) -> Ruleset {
        let mark = Mark { value: 0x200, mask: MASK };
        let called = [Called { net: "203.0.113.7/32".parse().expect("a net"), mark }];
        let network = |(number, bridge): (usize, &&str)| -> Network {
            format!("{bridge}=192.0.{number}.0/24").parse().expect("a network")
        };
        let networks: Vec<_> = bridges.iter().enumerate().map(network).collect();
        let rules = ruleset(&networks, &called);
        assert_ne!(rules, Ruleset::empty(Layout::Nftables));
        rules
    }

    fn on_a_host_that_routes_by_source<F: Future<Output = ()>>(
        body: impl FnOnce() -> F + Send + 'static,
    ) {
        in_namespace(|| {
            ip("-4 rule add from 203.0.113.7 table 200 pref 1000");
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(body());
        });
    }

    /// With a twin of the only rule that goes by a source.
    fn led_by_one(before: &str) -> String {
        let rule = "1000:\tfrom 203.0.113.7 lookup 200";
        let line = before.lines().find(|line| line.starts_with(rule)).expect("it is there");
        let twin = "1000:\tfrom all fwmark 0x200/0x1e00 lookup 200 proto 112";
        before.replace(line, &format!("{line}\n{twin}"))
    }

    fn ip(arguments: &str) -> String {
        let output = Command::new("ip").args(arguments.split(' ')).output().expect("there is ip");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {arguments}: {said}");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect()
    }
}
