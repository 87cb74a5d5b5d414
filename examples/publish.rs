//! Publishes container ports from the command line: the tool of crate `portmap-cli`.
//!
//! ```console
//! $ cargo run --release --example publish -- 8080:80
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    portmap_cli::main()
}
