//! The trait.

use std::{future::Future, sync::Arc};

use tower::{Service, ServiceExt};

use crate::{BoxError, BoxPortMapper, Error, Lease, MapperService, Publish};

/// A way of publishing container ports.
///
/// # Contract
/// * **All or nothing.** When [`publish`](Self::publish) returns an error, nothing of the request is in force
///   and nothing of it is left behind: whatever had been done is undone before the error returns.
/// * **Bad input first.** A request that fails [`Publish::check`] is refused before anything is touched.
/// * **Order.** Host ports are reserved, then rules are set, then the ports are served. Releasing is the exact
///   reverse. A host port that cannot be had is [`AddrInUse`](crate::ErrorKind::AddrInUse) and harms nobody.
/// * **Cancel safety.** Dropping the future of `publish` publishes nothing: what was begun is withdrawn in the
///   background.
/// * **The lease is the publish.** See [`Lease`] for what releasing, dropping and disarming it does.
///
/// # Mappers and tower services
/// Every cloneable `Service<Publish, Response = Lease>` whose error is or boxes an [`Error`] *is* a mapper, and
/// [`into_service`](Self::into_service) makes a service of every mapper. So a mapper goes through tower
/// middleware and comes out as a mapper:
///
/// ```
/// # use std::time::Duration;
/// use portmap_core::PortMapper;
/// use tower::ServiceBuilder;
///
/// fn patient(mapper: impl PortMapper) -> impl PortMapper {
///     ServiceBuilder::new()
///         .concurrency_limit(4)
///         .timeout(Duration::from_secs(5))
///         .service(mapper.into_service())
/// }
/// ```
///
/// `Arc<M>` is a mapper too. For a choice at run time, see [`into_boxed`](Self::into_boxed).
pub trait PortMapper: Send + Sync + 'static {
    /// Publishes all of a request, or nothing.
    ///
    /// A request without mappings gives a lease without bindings.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind); nothing is in force then.
    ///
    /// # Cancel safety
    /// Dropping the future publishes nothing.
    fn publish(&self, request: Publish) -> impl Future<Output = Result<Lease, Error>> + Send;

    /// This mapper as a tower service. It is always ready.
    fn into_service(self) -> MapperService<Self>
    where
        Self: Sized,
    {
        MapperService::new(self)
    }

    /// This mapper behind one type, where it is chosen at run time.
    fn into_boxed(self) -> BoxPortMapper
    where
        Self: Sized,
    {
        BoxPortMapper::new(self)
    }
}

impl<S> PortMapper for S
where
    S: Service<Publish, Response = Lease> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        let done = self.clone().oneshot(request).await;
        done.map_err(|error| Error::from(error.into()))
    }
}

impl<M: PortMapper> PortMapper for Arc<M> {
    fn publish(&self, request: Publish) -> impl Future<Output = Result<Lease, Error>> + Send {
        M::publish(self, request)
    }
}
