//! What the documentation says is so: its commands are run, and its links lead somewhere.
//!
//! Commands are the lines that begin with `$ ` in `console` blocks, any user's. Those that leave nothing behind are run, with
//! the tool and the examples that cargo has built beside the tests, and print what stands under them. Each of the others
//! needs a reason. Root's begin with `# `, in blocks of their own, and are not run.
#![expect(clippy::unwrap_used, reason = "output that cannot be read ends the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is not run, by how it begins, and why.
const NOT_RUN: [(&str, &str); 11] = [
    (
        "cargo run --release --example publish",
        "it goes on until Ctrl-C; tests/netns/publish.rs runs it",
    ),
    ("cargo run --example publish", "the same"),
    ("cargo run --example contract", "it needs namespaces; tests/netns runs what it does"),
    ("cargo test", "this is one"),
    ("cargo bench", "it takes minutes"),
    ("cargo clippy", ".ci/run does"),
    ("cargo fmt", ".ci/run does"),
    ("cargo install", "it changes the user's programs; tests/docker_proxy.rs runs the program"),
    ("curl", "a client of what is not run"),
    ("publish who", "what it prints depends on the host; tests/netns runs it"),
    ("publish doctor", "the same"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let folders = [root(), root().join("docs"), root().join("examples")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The lines of blocks of this kind, by block.
fn blocks<'a>(text: &'a str, kind: &str) -> Vec<Vec<&'a str>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line.strip_prefix("```").is_some_and(|what| what == kind)) {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").collect());
    }
    blocks
}

/// A user's commands of a block, each with what it prints.
fn commands<'a>(block: &[&'a str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command, Vec::new()));
        } else if let Some((_, printed)) = commands.last_mut() {
            printed.push(line);
        }
    }
    commands
}

/// Runs a line as a shell does, among the built examples, and gives all that it printed.
fn run(line: &str) -> String {
    let tests = env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap().join("examples");
    let line = line.replace("cargo run --example ", "");
    let path = format!("{}:{}", built.display(), env::var("PATH").unwrap());
    let script = format!("{{ {line}\n}} 2>&1");
    let output = Command::new("sh").args(["-c", &script]).env("PATH", path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Without what differs from run to run: the numbers of ephemeral ports, and times.
fn lasting(line: &str) -> String {
    let mut lasting = String::new();
    for word in line.split_inclusive(':') {
        let digits = word.chars().take_while(char::is_ascii_digit).count();
        let port = lasting.ends_with(':') && digits == 5;
        lasting += if port { &word[digits..] } else { word };
    }
    lasting
}

#[test]
fn commands_print_what_stands_under_them() {
    let mut count = 0;
    for (path, text) in pages() {
        for (line, printed) in blocks(&text, "console").iter().flat_map(|block| commands(block)) {
            let command = line.split("  #").next().unwrap().trim();
            if NOT_RUN.iter().any(|(start, _)| command.starts_with(start)) {
                continue;
            }
            let safe = command.starts_with("cargo run --example ")
                || command.starts_with("publish ")
                    && ["--dry-run", "--explain"].iter().any(|option| command.contains(option));
            assert!(safe, "{}: neither safe to run nor with a reason: {command}", path.display());
            count += 1;
            let output = run(command);
            let output: Vec<_> = output.lines().map(lasting).collect();
            let printed: Vec<_> = printed.into_iter().map(lasting).collect();
            assert!(printed == output, "{}: {command}\n{}", path.display(), output.join("\n"));
        }
    }
    assert!(count >= 8, "only {count} commands were found");
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if !file.is_empty() && !file.contains("://") {
                let target = path.parent().unwrap().join(file);
                assert!(target.exists(), "{}: {link}", path.display());
            }
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for (path, _) in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_page = path.parent().unwrap().ends_with("docs") && name != "README.md";
        assert!(!is_page || index.contains(&format!("({name})")), "{name} is not listed");
    }
}
