//! Programs of the machine, run in the calling thread's network namespace.

use std::{error::Error, process::Command};

use crate::common::path;

/// Runs a program, and gives what it printed.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new(program).args(args).env("PATH", path()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", args.join(" "), said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a line of shell.
pub(crate) fn sh(line: &str) -> Result<String, Box<dyn Error>> {
    run("sh", &["-ec", line])
}

/// What `nft list ruleset` prints, made [`comparable`].
pub(crate) fn nft_list() -> Result<String, Box<dyn Error>> {
    run("nft", &["list", "ruleset"]).map(|listing| comparable(&listing))
}

/// A listing without what differs from one time to the next: who owns a table, the order of elements that are
/// hashed, and that of sets and chains.
pub(crate) fn comparable(listing: &str) -> String {
    let mut text = String::new();
    let mut elements: Option<String> = None;
    let mut lines = listing.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("flags owner") {
            lines.next();
            continue;
        }
        let line =
            if line.starts_with("table") { line.split(" # ").next().unwrap_or(line) } else { line };
        match (&mut elements, line.trim_start().strip_prefix("elements = {")) {
            (None, None) => text.extend([line, "\n"]),
            (None, Some(rest)) => elements = Some(rest.to_owned()),
            (Some(all), _) => all.push_str(line.trim()),
        }
        if let Some(all) = elements.take_if(|all| all.ends_with('}')) {
            let mut all: Vec<&str> = all.trim_end_matches('}').split(',').map(str::trim).collect();
            all.sort_unstable();
            for one in all {
                text.extend(["\t\t+ ", one, "\n"]);
            }
        }
    }
    let Some((head, body)) = text.split_once("{\n") else { return text };
    let body = body.strip_suffix("}\n").unwrap_or(body).trim();
    let mut blocks: Vec<&str> = body.split("\n\n\t").collect();
    blocks.sort_unstable();
    format!("{head}{{\n\t{}\n}}\n", blocks.join("\n\n\t"))
}
