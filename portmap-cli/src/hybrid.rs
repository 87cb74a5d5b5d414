//! A publish by both: NAT in the kernel for the clients that it serves well, the proxy for all the others.

use portmap::{BoxError, rules::Policy};

use crate::{
    args::{Args, Mode},
    choice::Choice,
    ends::Ends,
    monitor::Monitor,
    nat::{Nat, needs},
    output::chain,
    plan::Plan,
    proxy,
    published::{By, by_both, publish, until_end},
};

pub(crate) async fn run(
    args: &Args,
    plan: &Plan,
    choice: &Choice,
    monitor: &Monitor,
    ends: &mut Ends,
) -> Result<(), BoxError> {
    let policy = args.rules.policy(Mode::Hybrid);
    let networks = plan.networks(args.networks());
    needs::check(&policy)?;

    let nat = match Nat::set_up(plan, &networks, &policy).await {
        Ok(nat) => nat,
        Err(error) => {
            let is_lacking = needs::are_lacking(&error);
            let error = needs::explain(error, &policy);
            if !(choice.is_open && is_lacking) {
                return Err(error);
            }
            Choice::proxy(chain(error.as_ref())).tell(monitor);
            return proxy::run(args, plan, monitor, ends).await;
        }
    };
    choice.tell(monitor);
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
    let published = publish(args, plan, webapp, By::Both(&nat.mapper), monitor).await?;
    for container in plan.containers() {
        match container.reach.inside {
            Some(_) => monitor.note(format_args!("{}, by the proxy alone", container.reach)),
            None => monitor.note(&container.reach),
        }
    }
    nat.demo.iter().for_each(|demo| monitor.note(demo));
    by_both(&published, policy).iter().for_each(|line| monitor.note(line));
    until_end(Mode::Hybrid, published, &nat.mapper.networks(), monitor, ends).await
}
