//! Mappers that break a promise: the contract has to find each, by the clause that is about it.

use std::{mem, pin::Pin};

use portmap::{
    BoxError, Error, ErrorKind, Lease, PortMapper, ProxyMapper, Publish,
    mapper::{Hold, NotReleased},
};
use portmap_testkit::{Need, Suite, contract::Contract};
use tokio::sync::oneshot;

pub(crate) fn tests(suite: &mut Suite) {
    const MAPPERS: [(Breaks, &[&str]); 7] = [
        (Breaks::Wholeness, &["what_cannot_be_had_as_a_whole_is_not_published_in_part"]),
        (Breaks::Kind, &["a_port_that_is_published_is_in_use_and_stays_as_it_is"]),
        (Breaks::OneNumber, &["an_ephemeral_port_is_one_number_on_all_addresses"]),
        (Breaks::Release, &["releasing_frees_the_port_at_once_and_closes_the_door"]),
        (Breaks::Drop, &["dropping_a_lease_releases_it_in_the_background"]),
        (Breaks::Disarm, &["a_disarmed_lease_stays_published"]),
        (Breaks::Cancelling, &["a_publish_that_is_dropped_while_it_waits_leaves_nothing"]),
    ];
    for (breaks, clause) in MAPPERS {
        let name = format!("a_mapper_that_breaks_{breaks:?}_is_found").to_lowercase();
        suite.test(&name, &[Need::Netns], async move || found(breaks, clause).await);
    }
}

async fn found(breaks: Breaks, clause: &'static [&'static str]) -> Result<(), BoxError> {
    let contract = Contract::new("broken", move |_| async move { Ok(Broken { breaks }) });
    let broken = contract.only(clause).broken().await;
    let names: Vec<_> = broken.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, clause, "{breaks:?}");
    Ok(())
}

/// What a mapper does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    /// What cannot be had is left out.
    Wholeness,
    /// A conflict is of another kind.
    Kind,
    /// Each address has an ephemeral port of its own.
    OneNumber,
    /// Releasing does nothing.
    Release,
    /// Dropping a lease does nothing.
    Drop,
    /// Disarming releases.
    Disarm,
    /// A publish goes on when nobody waits for it, and stays.
    Cancelling,
}

struct Broken {
    breaks: Breaks,
}

impl PortMapper for Broken {
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        let mapper = ProxyMapper::new();
        match self.breaks {
            Breaks::Kind => mapper.publish(request).await.map_err(|error| {
                Error::new(ErrorKind::Backend, "it did not work").with_source(error)
            }),
            Breaks::Wholeness => {
                let mut whole = Lease::default();
                for mapping in request.mappings() {
                    let part = Publish::new(request.endpoint()).with(mapping.clone());
                    if let Ok(lease) = mapper.publish(part).await {
                        whole = whole.join(lease);
                    }
                }
                Ok(whole)
            }
            Breaks::OneNumber => {
                let mut each = Publish::new(request.endpoint());
                for mapping in request.mappings() {
                    let (protocol, port) = (mapping.protocol(), mapping.host_port());
                    let any = portmap::Mapping::new(protocol, port, mapping.container_ports())?;
                    if mapping.host_addrs().is_empty() {
                        each = each.with(any.clone());
                    }
                    for addr in mapping.host_addrs() {
                        each = each.with(any.clone().on(*addr));
                    }
                }
                mapper.publish(each).await
            }
            Breaks::Cancelling => {
                let (reply, answer) = oneshot::channel();
                tokio::spawn(async move {
                    // Unsent, it comes back, and is forgotten.
                    mem::forget(reply.send(mapper.publish(request).await));
                });
                answer.await.map_err(|_| Error::new(ErrorKind::Closed, "the task has ended"))?
            }
            breaks => {
                let lease = mapper.publish(request).await?;
                let bindings = lease.bindings().to_vec();
                Ok(Lease::new(bindings, Held { lease: Some(lease), breaks }))
            }
        }
    }
}

#[derive(Debug)]
struct Held {
    lease: Option<Lease>,
    breaks: Breaks,
}

impl Hold for Held {
    fn release(
        mut self: Box<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>> {
        let lease = self.lease.take();
        Box::pin(async move {
            match lease {
                Some(lease) if self.breaks == Breaks::Release => drop(lease.disarm()),
                Some(lease) => drop(lease.release().await),
                None => {}
            }
            Ok(())
        })
    }

    fn disarm(mut self: Box<Self>) {
        if let Some(lease) = self.lease.take().filter(|_| self.breaks != Breaks::Disarm) {
            lease.disarm();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take().filter(|_| self.breaks == Breaks::Drop) {
            lease.disarm();
        }
    }
}
