//! A publish by NAT in the kernel, from its beginning to its end.

use std::fmt::{self, Display, Formatter};

use portmap::{
    BoxError,
    rules::{Loopback, Policy},
};

use crate::{
    args::{Args, Mode},
    ends::Ends,
    monitor::Monitor,
    nat::{Nat, listed, needs},
    plan::Plan,
    published::{By, publish, until_end},
};

pub(crate) async fn run(
    args: &Args,
    plan: &Plan,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let policy = args.rules.policy(Mode::Rules);
    let networks = plan.networks(args.networks());
    needs::check(&policy)?;

    let nat = Nat::set_up(plan, &networks, &policy).await;
    let nat = nat.map_err(|error| needs::explain(error, &policy))?;
    let served = serve(args, plan, &nat, &policy, monitor, ends).await;
    let withdrawn = nat.withdraw().await;
    served.and(withdrawn)
}

/// Publishes, tells what is in force, and releases it in the end.
async fn serve(
    args: &Args,
    plan: &Plan,
    nat: &Nat,
    policy: &Policy,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let webapp = nat.webapp(plan);
    let published = publish(args, plan, webapp, By::Rules(&nat.mapper), monitor).await?;
    for container in plan.containers() {
        monitor.note(&container.reach);
    }
    nat.demo.iter().for_each(|demo| monitor.note(demo));
    Way(policy).to_string().lines().for_each(|line| monitor.note(line));
    listed("connections are").iter().for_each(|line| monitor.note(line));
    until_end(Mode::Rules, published, &nat.mapper.networks(), monitor, ends).await
}

/// How it is done, and what comes of it.
struct Way<'a>(&'a Policy);

impl Display for Way<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Policy { layout, prefix, loopback, .. } = self.0;
        writeln!(
            f,
            "NAT in the kernel by rules {prefix} of {layout}: the container sees its clients' own addresses"
        )?;
        if *loopback == Loopback::Proxy {
            writeln!(
                f,
                "127.0.0.1 and containers' calls to this host are left to a proxy: here is none"
            )?;
        }
        f.write_str(
            "forwarding and what else NAT needs of this host is on, and put back in the end",
        )
    }
}
