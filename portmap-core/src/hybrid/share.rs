//! What one of the two mappers takes on.

use tracing::warn;

use crate::{Binding, Error, ErrorKind, Lease, PortMapper, Publish, WithCauses};

/// The part of a request that a mapper supports.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) lease: Lease,
    /// What it does not support, and why.
    pub(super) refused: Vec<(Binding, Error)>,
}

impl Share {
    /// Asks for the whole request; where that is not supported, for each mapping alone.
    pub(super) async fn ask<M: PortMapper>(mapper: &M, request: &Publish) -> Result<Self, Error> {
        match mapper.publish(request.clone()).await {
            Ok(lease) => Ok(Self { lease, refused: Vec::new() }),
            Err(error) if error.kind() != ErrorKind::Unsupported => Err(error),
            Err(error) => match (request.mappings(), request.reserved(0)) {
                ([_], Some(reserved)) => {
                    let refused = vec![(reserved.binding().clone(), error)];
                    Ok(Self { lease: Lease::default(), refused })
                }
                _ => Self::ask_singly(mapper, request).await,
            },
        }
    }

    async fn ask_singly<M: PortMapper>(mapper: &M, request: &Publish) -> Result<Self, Error> {
        let mut share = Self::default();
        let places = 0..request.mappings().len();
        for reserved in places.filter_map(|place| request.reserved(place)) {
            let one = Publish::new(request.endpoint()).with_reserved(reserved.clone());
            match mapper.publish(one).await {
                Ok(lease) => share.lease = share.lease.join(lease),
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    share.refused.push((reserved.binding().clone(), error));
                }
                Err(error) => {
                    give_back(share.lease).await;
                    return Err(error);
                }
            }
        }
        Ok(share)
    }
}

/// Undoes what was done, and goes on to the error that made it necessary. What cannot be undone now is tried again in
/// the background.
pub(super) async fn give_back(lease: Lease) {
    if let Err(error) = lease.release().await {
        warn!(error = %WithCauses(&error), "what was published half way cannot be released yet");
    }
}
