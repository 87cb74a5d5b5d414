//! One thing to publish, as it stands on the command line.

use std::str::FromStr;

use portmap::{BoxError, Endpoint, PortSpec};

/// `SPEC` or `SPEC@ADDR[,ADDR6]`.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) spec: PortSpec,
    /// The container of its own.
    pub(crate) to: Option<Endpoint>,
}

impl FromStr for Want {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (spec, to) = match text.split_once('@') {
            Some((spec, endpoint)) => (spec, Some(endpoint.parse()?)),
            None => (text, None),
        };
        Ok(Self { spec: spec.parse()?, to })
    }
}
