//! From a mapper to a tower service.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::Service;

use crate::{Error, Lease, PortMapper, Publish};

/// A [`PortMapper`] as a tower service, made by [`PortMapper::into_service`].
///
/// Clones share the mapper.
pub struct MapperService<M> {
    mapper: Arc<M>,
}

impl<M> MapperService<M> {
    pub(crate) fn new(mapper: M) -> Self {
        Self { mapper: Arc::new(mapper) }
    }
}

impl<M: PortMapper> Service<Publish> for MapperService<M> {
    type Response = Lease;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Lease, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Publish) -> Self::Future {
        let mapper = Arc::clone(&self.mapper);
        Box::pin(async move { M::publish(&mapper, request).await })
    }
}

impl<M> Clone for MapperService<M> {
    fn clone(&self) -> Self {
        Self { mapper: Arc::clone(&self.mapper) }
    }
}

impl<M: fmt::Debug> fmt::Debug for MapperService<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapperService").field(&self.mapper).finish()
    }
}
