//! The access paths, with real containers at their ends.

use portmap::{
    BoxError, ProxyMapper,
    rules::{Layout, Loopback, Policy},
};
use portmap_testkit::{
    Docker, Suite,
    matrix::{Column, Kind, Matrix},
};

use crate::{
    NEEDS,
    attached::{Attached, hybrid},
};

pub(crate) fn tests(suite: &mut Suite) {
    suite.test("matrix_of_real_containers_is_as_expected", &NEEDS, matrix);
}

async fn matrix() -> Result<(), BoxError> {
    let docker = Docker::open().await?;
    let proxy = Column::new("proxy", Kind::Proxy, |_| async { Ok(ProxyMapper::new()) });
    let mut matrix = Matrix::new().with(proxy.of_docker(&docker));
    for layout in [Layout::Nftables, Layout::Iptables] {
        let nat = Policy { layout, ..Policy::default() };
        let beside = Policy { loopback: Loopback::Proxy, ..nat.clone() };
        let rules = Column::new(layout.to_string(), Kind::Nat, move |site| {
            Attached::open(site, nat.clone())
        });
        let name = format!("hybrid, {layout}");
        let both = Column::new(name, Kind::Hybrid, move |site| hybrid(site, beside.clone()));
        matrix = matrix.with(rules.of_docker(&docker)).with(both.of_docker(&docker));
    }
    let table = matrix.run().await?;
    eprintln!("{table}");
    Ok(table.check()?)
}
