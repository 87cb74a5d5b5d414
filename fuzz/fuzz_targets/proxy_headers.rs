#![no_main]
#![allow(dead_code, unreachable_pub)]

use libfuzzer_sys::fuzz_target;

/// Where `pub(super)` leads to.
#[path = "../.."]
mod webapp {
    #[path = "portmap-testkit/src/webapp/proxied.rs"]
    mod proxied;

    use proxied::{Introduction, of_datagram, of_stream};

    pub fn check(bytes: &[u8]) {
        assert_ne!(of_datagram(bytes), Introduction::Partial);
        let told = of_stream(bytes);
        if let Introduction::Whole { length, .. } = told {
            assert!(length <= bytes.len());
            assert_eq!(of_stream(&bytes[..length]), told);
        }
    }
}

fuzz_target!(|bytes: &[u8]| webapp::check(bytes));
