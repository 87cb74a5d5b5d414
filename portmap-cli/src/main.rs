//! The tool `publish`.

use std::process::ExitCode;

fn main() -> ExitCode {
    portmap_cli::main()
}
