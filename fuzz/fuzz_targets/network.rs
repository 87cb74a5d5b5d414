#![no_main]

use libfuzzer_sys::fuzz_target;
use portmap_rules::Network;

fuzz_target!(|text: &str| {
    if let Ok(network) = text.parse::<Network>() {
        assert_eq!(network.to_string().parse(), Ok(network), "{text:?}");
    }
});
