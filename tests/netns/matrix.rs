//! Every way to reach a port, for every way to publish it: measured in the kernel, and held to what is written down in
//! the test kit and to what `trace` predicts from the rules alone.
//!
//! `PORTMAP_BLESS=1 cargo test --features netns --test netns matrix` writes `docs/access-paths.md` anew.

use std::{env, fs, path::Path as File, sync::Arc};

use portmap::{
    BoxError, Error, Lease, PortMapper, ProxyMapper, Publish,
    proxy::SourceAddress,
    rules::{Hairpin, Layout, Loopback, Policy, TransparentRouting},
};
use portmap_testkit::{
    Need, Site, Suite,
    matrix::{Column, Kind, Matrix, Outcome, Path, SeenAs, Table},
};

use crate::{
    attached::{Attached, hybrid},
    model::Model,
};

pub(crate) fn tests(suite: &mut Suite) {
    let needs = [Need::Netns, Need::Tool("iptables")];
    suite.test(
        "matrix_of_access_paths_is_as_expected_predicted_and_documented",
        &needs,
        async || {
            let table = all().run().await?;
            eprintln!("{table}");
            table.check()?;
            is_documented(&table)
        },
    );
    suite.test("matrix_of_bridges_that_netfilter_sees_is_as_predicted", &needs, async || {
        let table = bridged().run().await?;
        eprintln!("{table}");
        Ok(table.check()?)
    });
}

fn all() -> Matrix {
    let proxy = Column::new("proxy", Kind::Proxy, |_| async { Ok(ProxyMapper::new()) });
    let model = Model { policy: None, proxy: true, netfilter: false };
    let mut matrix = Matrix::new().with(predicted(proxy, model));
    for layout in [Layout::Nftables, Layout::Iptables] {
        for loopback in [Loopback::Nat, Loopback::Proxy] {
            let policy = Policy { layout, loopback, ..Policy::default() };
            let name = match loopback {
                Loopback::Nat => layout.to_string(),
                Loopback::Proxy => format!("{layout} less its proxy"),
            };
            matrix = matrix.with(rules(name, policy, false));
        }
        let policy = Policy { layout, loopback: Loopback::Proxy, ..Policy::default() };
        let own = policy.clone();
        let name = format!("hybrid, {layout}");
        let column = Column::new(name, Kind::Hybrid, move |site| hybrid(site, own.clone()));
        let model = Model { policy: Some(policy), proxy: true, netfilter: false };
        matrix = matrix.with(predicted(column, model));
    }
    matrix.with(with_headers()).with(transparent())
}

fn with_headers() -> Column {
    let source = SourceAddress::ProxyProtocolV2;
    let mapper = move |_| async move { Ok(ProxyMapper::new().source_address(source)) };
    Column::new("proxy, PROXY protocol", Kind::ProxyWithHeaders, mapper).reads_headers()
}

fn transparent() -> Column {
    Column::new("proxy, transparent", Kind::TransparentProxy, |site: Arc<Site>| async move {
        let bridges = site.networks().map(|bridge| bridge.name().parse());
        let bridges = bridges.into_iter().collect::<Result<Vec<_>, _>>()?;
        let _routing = TransparentRouting::set_up(bridges).await?;
        let mapper = ProxyMapper::new().source_address(SourceAddress::Transparent);
        Ok(Routed { mapper, _routing })
    })
}

/// A transparent proxy, and the routing that it takes.
struct Routed {
    mapper: ProxyMapper,
    _routing: TransparentRouting,
}

impl PortMapper for Routed {
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        self.mapper.publish(request).await
    }
}

/// Both hairpin policies on bridges whose packets meet the rules.
fn bridged() -> Matrix {
    let mut matrix = Matrix::new();
    for layout in [Layout::Nftables, Layout::Iptables] {
        for hairpin in [Hairpin::Masquerade, Hairpin::Bridge] {
            for loopback in [Loopback::Nat, Loopback::Proxy] {
                let policy = Policy { layout, loopback, hairpin, ..Policy::default() };
                let name = format!("{layout}, hairpin {hairpin}, loopback {loopback}");
                let column = rules(name, policy, true).but(move |path, _, _| {
                    match (path, hairpin, loopback) {
                        (Path::SameNetwork, Hairpin::Bridge, Loopback::Nat) => {
                            Some(Outcome::Delivered(SeenAs::Client))
                        }
                        _ => None,
                    }
                });
                matrix = matrix.with(column);
            }
        }
    }
    matrix
}

fn rules(name: String, policy: Policy, netfilter: bool) -> Column {
    let kind = match policy.loopback {
        Loopback::Nat => Kind::Nat,
        Loopback::Proxy => Kind::NatBesideProxy,
    };
    let own = policy.clone();
    let column = Column::new(name, kind, move |site| {
        let policy = own.clone();
        async move {
            for name in ["iptables", "ip6tables"] {
                if netfilter {
                    site.host().sysctl(&format!("net/bridge/bridge-nf-call-{name}"), "1").await?;
                }
            }
            Attached::open(site, policy).await
        }
    });
    predicted(column, Model { policy: Some(policy), proxy: false, netfilter })
}

fn predicted(column: Column, model: Model) -> Column {
    column.predicted(move |way, protocol, bindings| model.predict(way, protocol, bindings))
}

/// Holds `docs/access-paths.md` to a table.
fn is_documented(table: &Table) -> Result<(), BoxError> {
    let text = DOCUMENT.replace("TABLE\n", &table.markdown());
    if env::var_os("PORTMAP_BLESS").is_some() {
        let file = File::new(env!("CARGO_MANIFEST_DIR")).join("docs/access-paths.md");
        return Ok(fs::write(file, text)?);
    }
    match include_str!("../../docs/access-paths.md") == text {
        true => Ok(()),
        false => {
            Err(format!("docs/access-paths.md has drifted: see the top of this test\n{text}")
                .into())
        }
    }
}

const DOCUMENT: &str = "\
# Access paths

Which way a packet takes decides whether it reaches a published port, and who the container thinks is calling. This is
measured by a test, which fails when it drifts: `PORTMAP_BLESS=1 cargo test --features netns --test netns matrix` writes
it anew. Rows are ways to reach a port that is published on every address of a host (and one that is published on
127.0.1.2 alone), columns ways to publish it.

* **gateway**: delivered; the container takes the caller for the address of its own network's bridge.
* **client**: delivered; the container sees the caller's own address.
* **refused**: the caller is told at once that nobody serves this.
* **dropped**: the caller hears nothing.

Where a cell says no more, it holds for TCP and UDP, IPv4 and IPv6.

TABLE

The columns: the userland proxy alone; the same with headers of the PROXY protocol (version 2), and transparent, as
[who-is-calling.md](who-is-calling.md) explains; NAT alone (`Loopback::Nat`) by nftables or iptables; the same rules in the layout
that leaves paths to a proxy (`Loopback::Proxy`), but without one, to show which these are; and both, as
`HybridMapper` has them. Bridges show netfilter nothing (`br_netfilter` is off), and hairpin traffic is masqueraded: the
defaults. What differs elsewhere is tested beside this.

* Nobody outside reaches a container by its own address, nor 127.0.0.0/8. With the proxy alone that is the kernel's doing: nothing
  has switched forwarding on.
* NAT alone drops what comes from another network, since networks are isolated. It cannot serve ::1 (IPv6 has no
  `route_localnet`) nor link-local clients, whom no router forwards.
* The socket by which rules hold a UDP port is bound to the container's bridge. It refuses for everybody but what comes by that
  bridge.
* Transit is what passes a host that forwards, to another host's port of the same number.
";
