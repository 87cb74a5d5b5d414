//! Docker containers made for a test, and nothing left of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Output},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use portmap::BoxError;
use portmap_testkit::Busybox;

/// All that a test makes bears it, with the number of the test's process.
const LABEL: &str = "portmap-test";

/// An image of busybox alone, and the containers of one test. Dropping it removes them all, also in a panic.
pub(crate) struct Engine {
    name: String,
}

impl Engine {
    /// Sweeps what killed tests have left, and builds the image.
    pub(crate) fn new() -> Result<Self, BoxError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep()?;
        let name = format!("{LABEL}-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
        let engine = Self { name };
        let folder = Folder::new(&engine.name)?;
        fs::copy(Busybox::find()?.path(), folder.0.join("busybox"))?;
        fs::write(folder.0.join("index.html"), "hello\n")?;
        let label = engine.label();
        let recipe = format!(
            "FROM scratch\nLABEL {label}\nCOPY busybox /bin/\nCOPY index.html /www/\nENTRYPOINT [\"/bin/busybox\"]\n"
        );
        fs::write(folder.0.join("Dockerfile"), recipe)?;
        docker(&["build", "--quiet", "--tag", &engine.name, &folder.0.to_string_lossy()])?;
        Ok(engine)
    }

    /// Starts a container that serves `hello` on a port of an address of its own, and returns its name.
    pub(crate) fn serve(
        &self,
        name: &str,
        network: &str,
        listen: &str,
    ) -> Result<String, BoxError> {
        let name = format!("{}-{name}", self.name);
        let (label, network) = (self.label(), format!("--network={network}"));
        let made = ["run", "--detach", "--label", &label, "--name", &name, &network, &self.name];
        let served = ["httpd", "-f", "-p", listen, "-h", "/www"];
        docker(&[&made[..], &served].concat())?;
        Ok(name)
    }

    fn label(&self) -> String {
        format!("{LABEL}={}", process::id())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        remove(&self.label());
    }
}

/// Runs the client to its end.
pub(crate) fn docker(args: &[&str]) -> Result<String, BoxError> {
    let Output { status, stdout, stderr } = Command::new("docker").args(args).output()?;
    match status.success() {
        true => Ok(String::from_utf8(stdout)?.trim().to_owned()),
        false => {
            Err(format!("docker {}: {}", args.join(" "), String::from_utf8_lossy(&stderr)).into())
        }
    }
}

/// Removes what belongs to processes that are no more.
fn sweep() -> Result<(), BoxError> {
    let filter = format!("label={LABEL}");
    let containers = docker(&["ps", "--all", "--quiet", "--filter", &filter])?;
    let images = docker(&["images", "--quiet", "--filter", &filter])?;
    let form = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    for made in containers.lines().chain(images.lines()) {
        // What another test has removed meanwhile has no owner.
        let owner = docker(&["inspect", "--format", &form, made]).unwrap_or_default();
        if !owner.is_empty() && !Path::new("/proc").join(&owner).exists() {
            remove(&format!("{LABEL}={owner}"));
        }
    }
    Ok(())
}

/// Removes containers and images with a label.
fn remove(label: &str) {
    let filter = format!("label={label}");
    for (list, end) in [(["ps", "--all"], "rm"), (["images", "--all"], "rmi")] {
        let listed = docker(&[&list[..], &["--quiet", "--filter", &filter]].concat());
        let listed = listed.unwrap_or_default();
        let made: Vec<_> = listed.lines().collect();
        if !made.is_empty() {
            let _ = docker(&[&[end, "--force"], &made[..]].concat());
        }
    }
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self, BoxError> {
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
