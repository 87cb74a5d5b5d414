//! What the kernel makes of our rules. Each test has a network namespace of its own.

mod constructs;
mod published;
mod suite;
mod tool;

use std::process::ExitCode;

use suite::Suite;

fn main() -> ExitCode {
    let mut suite = Suite::enter();
    constructs::add(&mut suite);
    published::add(&mut suite);
    suite.run()
}
