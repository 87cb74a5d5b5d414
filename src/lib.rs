//! Publish container ports on a Linux host.
