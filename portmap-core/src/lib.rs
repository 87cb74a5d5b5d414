//! Vocabulary, the PortMapper trait and leases for publishing container ports.
