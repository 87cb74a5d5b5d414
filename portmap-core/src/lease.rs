//! The right to what is in force.

use std::{error, fmt, future::Future, mem, pin::Pin};

use tracing::warn;

use crate::{Binding, Endpoint, Error, ErrorKind, ServedAlone, WithCauses};

/// The right to a set of [`Binding`]s: they are in force as long as it lives.
///
/// **Dropping a lease withdraws its ports**: the release starts in the background, the drop itself never
/// blocks, and an error can only be logged. [`release`](Self::release) does the same and reports how it went;
/// [`disarm`](Self::disarm) gives the right up and leaves the ports published.
///
/// A release in the background needs the mapper's runtime to be alive; where that ends first, what a process serves
/// ends with it, and what a mapper has in the kernel goes as that mapper's documentation says.
#[must_use = "dropping a lease withdraws its ports"]
#[derive(Debug, Default)]
pub struct Lease {
    bindings: Vec<Binding>,
    /// Released from the last to the first, each with the number of bindings that are its own: the last ones.
    holds: Vec<(Box<dyn Hold>, usize)>,
}

/// What a mapper keeps in force for a [`Lease`]: its side of releasing. Mappers implement it, nobody calls it.
///
/// **Dropping a hold starts the release in the background**, without blocking.
pub trait Hold: fmt::Debug + Send + Sync + 'static {
    /// Withdraws what is in force; done when the ports are free.
    ///
    /// Where that fails, the hold comes back with the error, so that it can be tried again.
    /// Dropping the future must not stop the release: it goes on in the background.
    fn release(self: Box<Self>) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>>;

    /// Leaves what is in force as it is, until the process or the kernel ends it.
    fn disarm(self: Box<Self>);

    /// Leads the host ports to another container, all of them or none: see [`Lease::retarget`], which has checked the
    /// endpoint. Where this fails, what was in force still is.
    ///
    /// A hold that does not say how it is done cannot do it: [`Unsupported`](ErrorKind::Unsupported).
    fn retarget<'a>(
        &'a mut self,
        _to: Endpoint,
        _established: Established,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        let message = "this mapper cannot lead its ports to another container";
        Box::pin(async move { Err(Error::new(ErrorKind::Unsupported, message)) })
    }

    /// What [`Lease::served_alone`] tells; nothing, for a hold that knows of no two.
    fn served_alone(&self) -> &[ServedAlone] {
        &[]
    }
}

/// What becomes of the TCP connections that are open while a lease is [retargeted](Lease::retarget).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Established {
    /// They go on with the old container, until they end.
    #[default]
    Keep,
    /// They are cut: by a proxy within moments of the retarget's return, by NAT with their next packet. Until then the old
    /// container may still answer one. Clients are reset; by a proxy only those to whom something was under way.
    Cut,
}

/// A [`Hold`] that could not be released, and why.
#[derive(Debug)]
pub struct NotReleased {
    /// Why.
    pub error: Error,
    /// What is still in force.
    pub hold: Box<dyn Hold>,
}

impl Lease {
    /// A lease on `bindings`, kept in force by `hold`. For authors of mappers.
    pub fn new(bindings: Vec<Binding>, hold: impl Hold) -> Self {
        let own = bindings.len();
        Self { bindings, holds: vec![(Box::new(hold), own)] }
    }

    /// What is in force.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// Which of the [bindings](Self::bindings) only one of a [`HybridMapper`](crate::HybridMapper)'s two mappers serves, and
    /// why. Those that are not named both serve, or the only mapper that there is.
    pub fn served_alone(&self) -> impl Iterator<Item = &ServedAlone> {
        self.holds.iter().flat_map(|(hold, _)| hold.served_alone())
    }

    /// This lease and a later one as one. The later one is released first.
    pub fn join(mut self, mut later: Self) -> Self {
        self.bindings.append(&mut later.bindings);
        self.holds.append(&mut later.holds);
        self
    }

    /// Withdraws the ports, in the reverse order of publishing. They are free when this returns.
    ///
    /// A mapper that has connections open may let them end first: how long, its own documentation says.
    ///
    /// # Errors
    /// What could not be withdrawn comes back as [`ReleaseError::into_lease`].
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the release: it goes on in the background.
    pub async fn release(mut self) -> Result<(), ReleaseError> {
        while let Some((hold, own)) = self.holds.pop() {
            if let Err(NotReleased { error, hold }) = hold.release().await {
                self.holds.push((hold, own));
                return Err(ReleaseError { error, lease: self });
            }
            self.bindings.truncate(self.bindings.len() - own);
        }
        Ok(())
    }

    /// Leads the same host ports to another container, without closing them: no client is refused meanwhile.
    ///
    /// New connections go to the new endpoint from when this returns, at the latest; `established` says what becomes of
    /// the old ones. UDP knows no connections: what a client sends next goes to the new endpoint, also in the middle of
    /// an exchange. The container ports stay the same.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where no container can have the address, or where it lies where the mapper cannot
    /// publish, and what else a publish to it would say; [`Unsupported`](ErrorKind::Unsupported) where the mapper has no
    /// way to do it. The old endpoint is in force then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open which endpoint each port leads to. Calling this again settles it.
    pub async fn retarget(
        &mut self,
        endpoint: impl Into<Endpoint>,
        established: Established,
    ) -> Result<(), Error> {
        let endpoint = endpoint.into();
        endpoint.check()?;
        for place in 0..self.holds.len() {
            let (hold, _) = &mut self.holds[place];
            if let Err(error) = hold.retarget(endpoint, established).await {
                self.point_back(place).await;
                return Err(error);
            }
        }
        for binding in &mut self.bindings {
            *binding = binding.clone().to(endpoint);
        }
        Ok(())
    }

    /// Undoes a retarget that came as far as the hold at this place.
    async fn point_back(&mut self, failed: usize) {
        let mut first = 0;
        for (hold, own) in &mut self.holds[..failed] {
            if let Some(binding) = self.bindings.get(first) {
                let back = hold.retarget(binding.endpoint(), Established::Keep).await;
                if let Err(error) = back {
                    warn!(error = %WithCauses(&error), %binding, "does not lead back to its container");
                }
            }
            first += *own;
        }
    }

    /// Gives up the right and leaves the ports published. Returns what stays in force.
    ///
    /// For how long depends on the mapper: what a process serves ends with the process.
    pub fn disarm(mut self) -> Vec<Binding> {
        for (hold, _) in self.holds.drain(..) {
            hold.disarm();
        }
        mem::take(&mut self.bindings)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        while let Some(hold) = self.holds.pop() {
            drop(hold);
        }
    }
}

/// A release that failed. What is still in force is not lost: [`into_lease`](Self::into_lease).
///
/// Dropping this drops the lease inside, which tries once more in the background.
#[derive(Debug)]
pub struct ReleaseError {
    pub(crate) error: Error,
    pub(crate) lease: Lease,
}

impl ReleaseError {
    /// Why it failed.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The lease, to try again or to [`disarm`](Lease::disarm).
    pub fn into_lease(self) -> Lease {
        self.lease
    }
}

impl From<ReleaseError> for Error {
    /// Drops the lease, which tries once more in the background.
    fn from(failed: ReleaseError) -> Self {
        failed.error
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ports could not be released")
    }
}

impl error::Error for ReleaseError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}
