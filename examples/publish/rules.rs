//! A publish by NAT in the kernel, from its beginning to its end.

use std::fmt::{self, Display, Formatter};

use portmap::{
    BoxError,
    rules::{Loopback, Policy},
};

use crate::{
    all::{join, publish_all},
    args::{Args, Mode},
    assume,
    ends::Ends,
    monitor::Monitor,
    nat::{Nat, needs},
    output,
    plan::Plan,
};

pub(crate) async fn run(
    args: &Args,
    plan: &Plan,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let policy = args.rules.policy(Mode::Rules);
    // All that can be found wrong before anything is touched.
    let networks = plan.networks(args.networks());
    plan.check_addresses()?;
    plan.check_places(&networks)?;
    assume::rules(&networks, &plan.named(), &policy)?;
    needs::check(&policy)?;

    let nat = Nat::set_up(plan, &networks, &policy).await;
    let nat = nat.map_err(|error| needs::explain(error, &policy))?;
    let served = serve(&nat, plan, &policy, monitor, ends).await;
    let withdrawn = nat.withdraw().await;
    served.and(withdrawn)
}

/// Publishes, tells what is in force, and releases it in the end.
async fn serve(
    nat: &Nat,
    plan: &Plan,
    policy: &Policy,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let requests = plan.with_webapp(nat.webapp(plan));
    let jobs = requests.into_iter().map(|request| (nat.mapper.clone(), request));
    let lease = join(publish_all(jobs).await?);
    for container in plan.containers() {
        monitor.note(&container.reach);
    }
    nat.demo.iter().for_each(|demo| monitor.note(demo));
    Way(policy).to_string().lines().for_each(|line| monitor.note(line));
    monitor.published(Mode::Rules, lease.bindings().to_vec());

    ends.wait().await;
    // Not the error itself: it holds the lease, and the mapper does not end before that has gone.
    lease.release().await.map_err(|error| output::chain(&error))?;
    monitor.released();
    Ok(())
}

/// How it is done, and what comes of it.
struct Way<'a>(&'a Policy);

impl Display for Way<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Policy { layout, prefix, loopback, .. } = self.0;
        writeln!(
            f,
            "NAT in the kernel by rules {prefix} of {layout}: clients are seen as they are"
        )?;
        if *loopback == Loopback::Proxy {
            writeln!(
                f,
                "127.0.0.1 and containers' calls to this host are left to a proxy: here is none"
            )?;
        }
        writeln!(
            f,
            "forwarding and what else NAT needs of this host is on, and put back in the end"
        )?;
        f.write_str("connections do not pass through this tool, so none is listed")
    }
}
