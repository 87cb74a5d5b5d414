//! The `metrics` facade where the feature is on. Where it is off, the same names for types without content.

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(super) use off::*;
#[cfg(feature = "metrics")]
pub(super) use on::*;
