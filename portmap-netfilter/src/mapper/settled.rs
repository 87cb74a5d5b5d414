//! nftables, for one who has to know what is in force.

use portmap_core::WithCauses;
use portmap_rules::{Ruleset, Transaction};
use tracing::warn;

use crate::{Nftables, NftablesError};

/// nftables, whose tables are written anew where what is in force is not known. So what the books say is in force, or
/// will be with the next change.
#[derive(Debug)]
pub(super) struct SettledNftables {
    nftables: Nftables,
    /// Whether what is in force is not known.
    in_doubt: bool,
}

impl SettledNftables {
    pub(super) const fn new(nftables: Nftables) -> Self {
        Self { nftables, in_doubt: false }
    }

    /// Whether what is in force is not known.
    pub(super) const fn in_doubt(&self) -> bool {
        self.in_doubt
    }

    pub(super) const fn handle(&self) -> &Nftables {
        &self.nftables
    }

    /// Makes a change of `before`, which should be in force: all of it, or none.
    pub(super) async fn change(
        &mut self,
        before: &Ruleset,
        change: Transaction,
    ) -> Result<(), NftablesError> {
        if self.in_doubt {
            self.rewrite(before.clone()).await?;
        }
        let done = self.nftables.apply(change).await;
        if let Err(error) = &done
            && error.is_in_doubt()
        {
            self.settle(error, before.clone()).await;
        }
        done
    }

    /// Makes of `before`, which should be in force, `after`, which leads the same ports elsewhere. Nobody is refused on
    /// the way: what an old container is let through by goes last.
    pub(super) async fn pass_over(
        &mut self,
        before: &Ruleset,
        after: impl FnOnce() -> Ruleset,
        change: Transaction,
    ) -> Result<(), NftablesError> {
        let (first, last) = change.narrowing_last(before);
        self.change(before, first).await?;
        if !last.is_empty()
            && let Err(error) = self.nftables.apply(last).await
        {
            // The ports lead where they should, which is what was asked for.
            self.settle(&error, after()).await;
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        self.nftables.close().await;
    }

    /// Has these rules in force after an error that left something else.
    async fn settle(&mut self, error: &NftablesError, rules: Ruleset) {
        warn!(error = %WithCauses(error), "what is in force is not known, and written anew");
        if let Err(error) = self.rewrite(rules).await {
            warn!(error = %WithCauses(&error), "it is written anew before the next change");
        }
    }

    /// Has these rules in force, whatever there is of the tables.
    pub(super) async fn rewrite(&mut self, rules: Ruleset) -> Result<(), NftablesError> {
        self.in_doubt = true;
        self.nftables.rewrite(rules).await?;
        self.in_doubt = false;
        Ok(())
    }
}

#[cfg(all(test, feature = "netns"))]
mod tests {
    use std::sync::Arc;

    use portmap_core::{Binding, HostAddr, Protocol};
    use portmap_rules::{Layout, Network, Policy, compile};
    use tokio::runtime::Builder;

    use super::*;
    use crate::{
        mapper::backend::Backend,
        netlink::{
            Socket,
            lossy::{Fate, Fates, Lossy, in_namespace},
        },
    };

    #[test]
    fn what_was_not_answered_can_be_asked_for_again() {
        let lost = [Fate::Unheard, Fate::Vanished];
        for fates in lost.into_iter().flat_map(|fate| [vec![fate], vec![fate, Fate::Unsent]]) {
            on_a_lossy_way(move |way, mut nftables| async move {
                let (none, one) = (rules(&[]), rules(&[8080]));
                nftables.change(&nothing(), Ruleset::diff(&nothing(), &none)).await.unwrap();
                way.are(fates);
                let publish = || Ruleset::diff(&none, &one);
                let error = nftables.change(&none, publish()).await.unwrap_err();
                assert!(error.is_in_doubt() && way.are_over(), "{error:?}");
                nftables.change(&none, publish()).await.unwrap();
                nftables.change(&one, Ruleset::diff(&one, &none)).await.unwrap();
            });
        }
    }

    #[test]
    fn what_a_retarget_could_not_take_back_is_no_hindrance() {
        for fate in [Fate::Unsent, Fate::Unheard, Fate::Vanished] {
            for settles in [Fate::Answered, Fate::Unsent] {
                on_a_lossy_way(move |way, mut nftables| async move {
                    let ports = [8080, 8081];
                    let (before, after) = (rules(&ports), to(&ports, "192.0.2.3"));
                    nftables.change(&nothing(), Ruleset::diff(&nothing(), &before)).await.unwrap();
                    way.are([Fate::Answered, fate, settles]);
                    let there = Ruleset::diff(&before, &after);
                    nftables.pass_over(&before, || after.clone(), there).await.unwrap();
                    assert!(way.are_over());
                    let back = Ruleset::diff(&after, &before);
                    nftables.pass_over(&after, || before.clone(), back).await.unwrap();
                });
            }
        }
    }

    #[test]
    fn a_look_settles_what_is_not_known() {
        for fate in [Fate::Unheard, Fate::Vanished] {
            on_a_lossy_way(move |way, mut nftables| async move {
                let (none, one) = (rules(&[]), rules(&[8080]));
                nftables.change(&nothing(), Ruleset::diff(&nothing(), &none)).await.unwrap();
                way.are([fate, Fate::Unsent]);
                nftables.change(&none, Ruleset::diff(&none, &one)).await.unwrap_err();
                let mut backend = Backend::Nftables(nftables);
                assert!(backend.in_doubt());
                way.are([Fate::Unsent]);
                backend.reconcile(&none).await.unwrap_err();
                assert!(backend.in_doubt());
                backend.reconcile(&none).await.unwrap();
                assert!(!backend.in_doubt());
                let found = backend.nftables().unwrap().compare(Arc::new(none)).await.unwrap();
                assert_eq!(found, []);
            });
        }
    }

    fn on_a_lossy_way<F: Future<Output = ()>>(
        body: impl FnOnce(Fates, SettledNftables) -> F + Send + 'static,
    ) {
        in_namespace(|| {
            let fates = Fates::default();
            let socket = Socket::open().expect("there is netfilter");
            let nftables = SettledNftables::new(Nftables::over(Lossy::new(socket, &fates)));
            Builder::new_current_thread()
                .build()
                .expect("a runtime")
                .block_on(body(fates, nftables));
        });
    }

    fn nothing() -> Ruleset {
        Ruleset::empty(Layout::Nftables)
    }

    fn rules(ports: &[u16]) -> Ruleset {
        to(ports, "192.0.2.2")
    }

    fn to(ports: &[u16], endpoint: &str) -> Ruleset {
        let network: Network = "br0=192.0.2.0/24".parse().expect("a network");
        let binding = |port: &u16| {
            let (port, endpoint) =
                ((*port).try_into().expect("a port"), endpoint.parse().expect("an address"));
            Binding::new(
                Protocol::Tcp,
                HostAddr::Any,
                port,
                endpoint,
                "80".parse().expect("a port"),
            )
        };
        let bindings: Vec<_> = ports.iter().filter_map(binding).collect();
        compile(&[network], &bindings, &Policy::default()).expect("no conflict")
    }
}
