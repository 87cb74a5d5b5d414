//! The userland proxy of portmap: TCP ports forwarded in one process.
