//! Following Docker's containers: a port stays published while its container is stopped, and leads to it when it is back.

use std::{
    convert::Infallible,
    error::Error,
    time::{Duration, Instant},
};

use futures::future::join_all;
use portmap::{
    Established, Lease,
    rules::{Network, Subnet},
};
use tokio::time::{sleep, timeout};

use super::{Published, back_off::BackOff};
use crate::{
    docker::{ContainerName, Docker, DockerError, Events},
    monitor::Monitor,
    output::chain,
    target::{Reach, Target, Way},
};

/// Who has been heard for so long is well: one that fails each time is told of once.
const STEADY: Duration = Duration::from_secs(2);

/// Leads ports to where their containers are, until it is dropped. What no engine keeps stays where it is.
pub(super) async fn follow(published: &mut [Published], networks: &[Network], monitor: &Monitor) {
    join_all(published.iter_mut().map(async |published| {
        let Published { lease, target, reach, way } = published;
        if let (Some(Target::Docker(name)), Some(reach)) = (target, reach)
            && !reach.is_here()
            && let Ok(docker) = Docker::from_env()
        {
            let way = way.as_ref();
            let (said, lost) = (String::new(), String::new());
            let mut followed = Followed { lease, way, reach, name, networks, monitor, said, lost };
            followed.run(&docker).await;
        }
    }))
    .await;
}

struct Followed<'a> {
    lease: &'a mut Lease,
    /// How it is dialled, where a proxy does.
    way: Option<&'a Way>,
    /// Where it was when it was found last.
    reach: &'a mut Reach,
    name: &'a ContainerName,
    /// What the rules know; nothing where there are none.
    networks: &'a [Network],
    monitor: &'a Monitor,
    /// What is wrong, where that was told.
    said: String,
    /// Why it is not followed, where that was told.
    lost: String,
}

/// What a look came to.
enum Seen {
    /// There is nothing to do until something happens.
    AsItIs,
    /// Docker did not answer, or its answer could not be followed: another look may do better.
    InPart,
}

impl Followed<'_> {
    /// Follows for good. A daemon that has gone, or that says what makes no sense, is asked again later.
    async fn run(&mut self, docker: &Docker) {
        let mut pause = BackOff::default();
        loop {
            let begun = Instant::now();
            let Err(error) = self.listen(docker).await;
            self.lose(&error);
            if begun.elapsed() > STEADY {
                pause = BackOff::default();
            }
            sleep(pause.next()).await;
        }
    }

    /// Looks whenever something has happened, and again where a look came to nothing.
    async fn listen(&mut self, docker: &Docker) -> Result<Infallible, DockerError> {
        let mut events = Events::of(docker).await?;
        let mut pause = BackOff::default();
        loop {
            // For the first time at once: what happened before events were asked for is in none of them.
            match self.look().await {
                Seen::AsItIs => {
                    pause = BackOff::default();
                    match timeout(STEADY, events.next()).await {
                        Ok(event) => event?,
                        Err(_) => {
                            self.find_again();
                            events.next().await?;
                        }
                    }
                }
                Seen::InPart => tokio::select! {
                    event = events.next() => event?,
                    () = sleep(pause.next()) => {}
                },
            }
        }
    }

    /// Says once why it is not followed.
    fn lose(&mut self, error: &DockerError) {
        let why = error.to_string();
        if self.lost != why {
            let name = self.name;
            self.monitor.note(format_args!(
                "container {name} is not followed for now: {why}; its ports stay published"
            ));
            self.lost = why;
        }
    }

    fn find_again(&mut self) {
        if !self.lost.is_empty() {
            self.monitor.note(format_args!("container {} is followed again", self.name));
            self.lost.clear();
        }
    }

    async fn look(&mut self) -> Seen {
        match Reach::find(&Target::Docker(self.name.clone())).await {
            Ok(found) if found.is_here() => {
                self.say(format!("{found} is this host's own namespace, and not followed there"));
            }
            Ok(found)
                if found.since == self.reach.since && found.endpoint == self.reach.endpoint => {}
            Ok(found) => return self.lead(found).await,
            Err(error) => match error.downcast_ref() {
                Some(error) => {
                    self.lose(error);
                    return Seen::InPart;
                }
                None => self.say(format!("{}; its ports stay published", chain(error.as_ref()))),
            },
        }
        Seen::AsItIs
    }

    async fn lead(&mut self, found: Reach) -> Seen {
        if self.is_behind_another(&found) {
            self.say(self.unknown(&found));
            return Seen::AsItIs;
        }
        // First the way: a dial to the new address must not go out by the old one.
        self.lead_way(&found);
        match self.lease.retarget(found.endpoint, Established::Keep).await {
            Ok(()) => {
                self.monitor.note(format_args!("{found} now"));
                self.monitor.retargeted(self.lease.bindings());
                self.said.clear();
                *self.reach = found;
                Seen::AsItIs
            }
            Err(error) => {
                // Where the port leads still, it has to be dialled as before.
                self.lead_way(self.reach);
                self.say(self.refused(&found, &error));
                Seen::InPart
            }
        }
    }

    fn lead_way(&self, to: &Reach) {
        self.way.iter().for_each(|way| way.lead(to.inside.clone()));
    }

    /// Whether its address is one that the rules know behind another bridge: a network made anew with the old one's subnet.
    fn is_behind_another(&self, found: &Reach) -> bool {
        let Some(network) = &found.network else { return false };
        let mut around = self.networks.iter().filter(|known| {
            let mut nets = known.subnets().map(Subnet::net);
            nets.any(|net| found.endpoint.addrs().any(|addr| net.contains(&addr)))
        });
        around.any(|known| known.bridge() != network.bridge())
    }

    /// Says what is in the way of leading its ports there.
    fn refused(&self, found: &Reach, error: &(dyn Error + 'static)) -> String {
        let is_known = |network: &Network| {
            self.networks.iter().any(|known| known.bridge() == network.bridge())
        };
        match &found.network {
            _ if self.networks.is_empty() => format!("{found}: {}", chain(error)),
            _ if found.inside.is_some() => {
                format!("{found} has no address that NAT could lead to; its ports stay published")
            }
            Some(network) if !is_known(network) => self.unknown(found),
            _ => format!("{found}: {}; its ports stay published", chain(error)),
        }
    }

    fn unknown(&self, found: &Reach) -> String {
        let bridge = found.network.as_ref().map_or("?".to_owned(), |net| net.bridge().to_string());
        format!(
            "{found}: the rules were made without its network, {bridge}; its ports stay published, and lead there once publish is started again"
        )
    }

    /// Says a thing once.
    fn say(&mut self, line: String) {
        if self.said != line {
            self.monitor.note(&line);
            self.said = line;
        }
    }
}
