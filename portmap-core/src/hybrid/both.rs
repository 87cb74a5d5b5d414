//! What keeps the ports of two mappers in force.

use std::{future::Future, mem, pin::Pin};

use tokio::join;
use tracing::warn;

use crate::{
    Endpoint, Error, ErrorKind, Established, Hold, Lease, NotReleased, ReleaseError, Reservation,
    ServedAlone, ServedBy, WithCauses,
};

/// The leases of a proxy and of rules on the same ports. Dropped in the order of its fields.
#[derive(Debug)]
pub(super) struct Both {
    pub(super) proxy: Lease,
    pub(super) rules: Lease,
    /// Keeps the ports from others until both have let go of them.
    pub(super) reservation: Reservation,
    pub(super) endpoint: Endpoint,
    pub(super) alone: Vec<ServedAlone>,
    /// Whether the proxy may not serve alone.
    pub(super) require_rules: bool,
}

impl Both {
    /// Whether the proxy serves all that the rules serve, and may do so alone.
    fn can_do_without_rules(&self) -> bool {
        !self.require_rules && !self.alone.iter().any(|one| one.by == ServedBy::Rules)
    }

    fn leads_to(&mut self, to: Endpoint) {
        self.endpoint = to;
        for ServedAlone { binding, .. } in &mut self.alone {
            *binding = binding.clone().to(to);
        }
    }

    /// Leads the proxy to an endpoint that the rules do not support, and has these let go of their ports. Where one of the
    /// two fails, both are as they were.
    async fn leave_to_proxy(
        &mut self,
        to: Endpoint,
        established: Established,
        reason: Error,
    ) -> Result<(), Error> {
        self.proxy.retarget(to, established).await?;
        let rules = mem::take(&mut self.rules);
        let left = rules.bindings().to_vec();
        if let Err(ReleaseError { error, lease }) = rules.release().await {
            self.rules = lease;
            if let Err(stuck) = self.proxy.retarget(self.endpoint, Established::Keep).await {
                warn!(error = %WithCauses(&stuck), "the proxy leads to {to:?} all the same");
            }
            return Err(error);
        }
        // An error cannot be copied: the first binding has its causes, the others have its words.
        let words = WithCauses(&reason).to_string();
        let more = |binding| (binding, Error::new(reason.kind(), words.clone()));
        let mut left = left.into_iter();
        let first = left.next();
        let others: Vec<_> = left.map(more).collect();
        let refused = first.map(|binding| (binding, reason)).into_iter().chain(others).collect();
        self.alone.extend(ServedBy::Proxy.alone(refused));
        Ok(())
    }
}

impl Hold for Both {
    /// The proxy is told first, and the rules do not wait for it: its last connections may take as long as its drain
    /// limit, and the rules would let clients in meanwhile.
    fn release(
        mut self: Box<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>> {
        let (proxy, rules) = (mem::take(&mut self.proxy), mem::take(&mut self.rules));
        Box::pin(async move {
            let (proxy, rules) = join!(biased; proxy.release(), rules.release());
            let mut failed = None;
            self.proxy = left_over(proxy, &mut failed);
            self.rules = left_over(rules, &mut failed);
            match failed {
                None => Ok(()),
                Some(error) => Err(NotReleased { error, hold: self }),
            }
        })
    }

    fn disarm(self: Box<Self>) {
        let Self { proxy, rules, reservation, .. } = *self;
        proxy.disarm();
        rules.disarm();
        // Nobody else may take a port that rules still lead elsewhere.
        mem::forget(reservation);
    }

    fn retarget<'a>(
        &'a mut self,
        to: Endpoint,
        established: Established,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        Box::pin(async move {
            match self.rules.retarget(to, established).await {
                Ok(()) => {}
                Err(error)
                    if error.kind() == ErrorKind::Unsupported && self.can_do_without_rules() =>
                {
                    self.leave_to_proxy(to, established, error).await?;
                    self.leads_to(to);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            if let Err(error) = self.proxy.retarget(to, established).await {
                if let Err(stuck) = self.rules.retarget(self.endpoint, Established::Keep).await {
                    warn!(error = %WithCauses(&stuck), "the rules lead to {to:?} all the same");
                }
                return Err(error);
            }
            self.leads_to(to);
            Ok(())
        })
    }

    fn served_alone(&self) -> &[ServedAlone] {
        &self.alone
    }
}

/// The lease that could not be released, and why, where that is the first failure.
fn left_over(released: Result<(), ReleaseError>, failed: &mut Option<Error>) -> Lease {
    match released {
        Ok(()) => Lease::default(),
        Err(ReleaseError { error, lease }) => {
            failed.get_or_insert(error);
            lease
        }
    }
}
