//! Labs of network namespaces, webapp and busybox containers to test port publishing.
