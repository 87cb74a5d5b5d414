//! A publish by NAT in the kernel, from its beginning to its end.

mod needs;

use std::fmt::{self, Display, Formatter};

use portmap::{
    BoxError, Lease, RulesMapper,
    rules::{Hairpin, HostSettings, Loopback, Network, NetworkLease, Policy},
};

use crate::{
    all::{join, publish_all},
    args::{Args, Mode},
    assume,
    demo::Contained,
    ends::Ends,
    monitor::Monitor,
    output,
    plan::Plan,
};

pub(crate) async fn run(
    args: &Args,
    plan: &Plan,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let policy = args.rules.policy();
    // All that can be found wrong before anything is touched.
    let networks = plan.networks(args.networks());
    plan.check_places(&networks)?;
    assume::rules(&networks, &plan.named(), &policy)?;
    needs::check(&policy)?;

    let mapper = RulesMapper::open_with(policy.clone(), HostSettings::Managed);
    let mapper = mapper.map_err(|error| needs::explain(error.into(), &policy))?;
    let demo = match plan.for_webapp() {
        [] => None,
        specs => {
            let demo = Contained::start(specs, false).await;
            Some(demo.map_err(|error| needs::explain(error, &policy))?)
        }
    };
    let mut attached = Vec::new();
    let begun = begin(networks, plan, &policy, &mapper, demo.as_ref(), &mut attached).await;
    let served = match begun {
        Ok(lease) => serve(lease, plan, &policy, demo.as_ref(), monitor, ends).await,
        Err(error) => Err(error),
    };
    let withdrawn = withdraw(mapper, attached).await;
    let removed = match demo {
        Some(demo) => demo.remove().await,
        None => Ok(()),
    };
    served.and(withdrawn).and(removed)
}

/// Attaches the networks and publishes.
async fn begin(
    mut networks: Vec<Network>,
    plan: &Plan,
    policy: &Policy,
    mapper: &RulesMapper,
    demo: Option<&Contained>,
    attached: &mut Vec<NetworkLease>,
) -> Result<Lease, BoxError> {
    if let Some(demo) = demo {
        demo.set_hairpin(policy.hairpin == Hairpin::Bridge).await?;
        networks.push(demo.network()?);
    }
    for network in networks {
        let lease = mapper.attach(network).await;
        attached.push(lease.map_err(|error| needs::explain(error.into(), policy))?);
    }
    let requests = plan.with_webapp(demo.map(|demo| demo.request(plan.for_webapp())));
    let jobs = requests.into_iter().map(|request| (mapper.clone(), request));
    Ok(join(publish_all(jobs).await?))
}

/// Tells what is in force, and releases it in the end.
async fn serve(
    lease: Lease,
    plan: &Plan,
    policy: &Policy,
    demo: Option<&Contained>,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    for container in plan.containers() {
        monitor.note(&container.reach);
    }
    demo.into_iter().for_each(|demo| monitor.note(demo));
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

/// Takes everything back; done when the kernel is as it was.
async fn withdraw(mapper: RulesMapper, attached: Vec<NetworkLease>) -> Result<(), BoxError> {
    let mut withdrawn = Ok(());
    for network in attached.into_iter().rev() {
        withdrawn = withdrawn.and(network.detach().await);
    }
    mapper.close().await;
    Ok(withdrawn?)
}
