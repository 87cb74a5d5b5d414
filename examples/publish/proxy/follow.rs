//! Following Docker's containers: a port stays published while its container is stopped, and leads to it when it is back.

use futures::future::join_all;
use portmap::{Established, Lease};

use super::Published;
use crate::{
    docker::{self, ContainerName, Docker},
    monitor::Monitor,
    output::chain,
    target::{Reach, Target, Way},
};

/// Leads ports to where their containers are, until it is dropped. What no engine keeps stays where it is.
pub(super) async fn follow(published: &mut [Published], monitor: &Monitor) {
    join_all(published.iter_mut().map(async |published| {
        let Published { lease, target, reach, way } = published;
        if let (Some(Target::Docker(name)), Some(reach), Some(way)) = (target, reach, way)
            && let Ok(docker) = Docker::from_env()
        {
            let mut followed = Followed { lease, way, reach, name, monitor, said: String::new() };
            docker::follow(&docker, async || followed.look().await).await;
        }
    }))
    .await;
}

struct Followed<'a> {
    lease: &'a mut Lease,
    way: &'a Way,
    /// Where it was when it was found last.
    reach: &'a mut Reach,
    name: &'a ContainerName,
    monitor: &'a Monitor,
    /// What is wrong, where that was told.
    said: String,
}

impl Followed<'_> {
    async fn look(&mut self) {
        match Reach::find(&Target::Docker(self.name.clone())).await {
            Ok(found) if found.is_here() => {
                self.say(format!("{found} is this host's own namespace, and not followed there"));
            }
            Ok(found)
                if found.since == self.reach.since && found.endpoint == self.reach.endpoint => {}
            Ok(found) => self.lead(found).await,
            Err(error) => self.say(format!("{}; its ports stay published", chain(error.as_ref()))),
        }
    }

    async fn lead(&mut self, found: Reach) {
        // First the way: a dial to the new address must not go out by the old one.
        self.way.lead(found.inside.clone());
        match self.lease.retarget(found.endpoint, Established::Keep).await {
            Ok(()) => {
                self.monitor.note(format_args!("{found} now"));
                self.monitor.retargeted(self.lease.bindings());
                self.said.clear();
                *self.reach = found;
            }
            Err(error) => {
                // Where the port leads still, it has to be dialled as before.
                self.way.lead(self.reach.inside.clone());
                self.say(format!("{found}: {}", chain(&error)));
            }
        }
    }

    /// Says a thing once.
    fn say(&mut self, line: String) {
        if self.said != line {
            self.monitor.note(&line);
            self.said = line;
        }
    }
}
