//! A mapper chosen at run time.

use std::task::{Context, Poll};

use tower::{Service, util::BoxCloneSyncService};

use crate::{Error, Lease, PortMapper, Publish};

/// Any [`PortMapper`] behind one type, made by [`PortMapper::into_boxed`]. Clones share the mapper.
///
/// It is a tower service, and so a mapper again.
#[derive(Clone, Debug)]
pub struct BoxPortMapper(BoxCloneSyncService<Publish, Lease, Error>);

impl BoxPortMapper {
    pub(crate) fn new(mapper: impl PortMapper) -> Self {
        Self(BoxCloneSyncService::new(mapper.into_service()))
    }
}

impl Service<Publish> for BoxPortMapper {
    type Response = Lease;
    type Error = Error;
    type Future = <BoxCloneSyncService<Publish, Lease, Error> as Service<Publish>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Publish) -> Self::Future {
        self.0.call(request)
    }
}
