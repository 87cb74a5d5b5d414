//! What keeps the ports of two mappers in force.

use std::{future::Future, mem, pin::Pin};

use tokio::join;
use tracing::warn;

use crate::{
    Endpoint, Error, Established, Hold, Lease, NotReleased, ReleaseError, Reservation, ServedAlone,
    WithCauses,
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
            self.rules.retarget(to, established).await?;
            if let Err(error) = self.proxy.retarget(to, established).await {
                if let Err(stuck) = self.rules.retarget(self.endpoint, Established::Keep).await {
                    warn!(error = %WithCauses(&stuck), "the rules lead to {to:?} all the same");
                }
                return Err(error);
            }
            self.endpoint = to;
            for ServedAlone { binding, .. } in &mut self.alone {
                *binding = binding.clone().to(to);
            }
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
