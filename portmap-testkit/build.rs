//! Builds the webapp of real containers: a program that needs nothing but a kernel.

use std::path::PathBuf;
use std::process::Command;
use std::{env, error::Error};

const SOURCE: &str = "src/docker/webapp.rs";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CONTAINERS").is_none() {
        return Ok(());
    }
    for file in [SOURCE, "src/page.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let program = PathBuf::from(env::var("OUT_DIR")?).join("webapp");
    // Not a second package: cargo knows no other way to link one binary statically and the tests that carry it not, and a
    // published crate would have to bring it as a binary. Without dependencies the compiler alone will do: 1 s, 500 KiB.
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.args(["--edition=2024", "--crate-name=webapp", "--target", &env::var("TARGET")?]);
    rustc.args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols", "-Clto=fat"]);
    rustc.args(["-Ctarget-feature=+crt-static", "-Crelocation-model=static", "-o"]).arg(&program);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    if !rustc.arg(SOURCE).status()?.success() {
        return Err("the webapp of feature `containers` was not built: it is linked statically, \
                    for which glibc has a package of its own (Debian: libc6-dev, Fedora: glibc-static)"
            .into());
    }
    Ok(())
}
