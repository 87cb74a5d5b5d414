//! One thing to publish, as it stands on the command line.

use std::str::FromStr;

use portmap::{BoxError, PortSpec};

use crate::target::Target;

/// `SPEC` or `SPEC@TARGET`.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) spec: PortSpec,
    /// The container of its own.
    pub(crate) target: Option<Target>,
}

impl FromStr for Want {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (spec, target) = match text.split_once('@') {
            Some((spec, target)) => (spec, Some(target.parse()?)),
            None => (text, None),
        };
        Ok(Self { spec: spec.parse()?, target })
    }
}
