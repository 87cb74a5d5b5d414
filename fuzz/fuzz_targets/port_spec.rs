#![no_main]

use libfuzzer_sys::fuzz_target;
use portmap_core::PortSpec;

fuzz_target!(|text: &str| {
    if let Ok(spec) = text.parse::<PortSpec>() {
        assert_eq!(spec.to_string().parse(), Ok(spec), "{text:?}");
    }
});
