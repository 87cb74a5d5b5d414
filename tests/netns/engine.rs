//! A stand-in for Docker: it says of a container what a test wants it to say. The real one's bridges are in the host's own
//! namespace, where no test may write rules.

use std::{
    env, fs,
    net::Ipv4Addr,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use portmap::BoxError;
use portmap_testkit::Bridge;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// An engine with one container. Dropping it removes its socket.
pub(crate) struct Engine {
    socket: PathBuf,
    known: Arc<Mutex<Known>>,
    /// Counts what has happened.
    events: watch::Sender<u32>,
    serving: JoinHandle<()>,
}

/// What it says.
#[derive(Default)]
struct Known {
    container: Value,
    network: Value,
}

impl Engine {
    /// One whose container has not been made.
    pub(crate) fn new() -> Result<Self, BoxError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let socket = env::temp_dir().join(format!("portmap-engine-{}-{number}", process::id()));
        let listener = UnixListener::bind(&socket)?;
        let (known, events) = (Arc::<Mutex<Known>>::default(), watch::Sender::new(0));
        let (said, happened) = (Arc::clone(&known), events.clone());
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (said, happened) = (Arc::clone(&said), happened.subscribe());
                tokio::spawn(async move { serve(client, &said, happened).await });
            }
        });
        Ok(Self { socket, known, events, serving })
    }

    /// What `DOCKER_HOST` has to be.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The container is started, at an address behind a bridge.
    pub(crate) fn start(&self, bridge: &Bridge, addr: Ipv4Addr) {
        let name = bridge.name();
        let network = json!({
            "Driver": "bridge",
            "IPAM": { "Config": [{ "Subnet": bridge.subnet4().to_string() }] },
            "Options": { "com.docker.network.bridge.name": name },
        });
        let place = json!({ "NetworkID": name, "IPAddress": addr, "GlobalIPv6Address": "" });
        self.change(true, json!({ name: place }), network);
    }

    /// The container is stopped.
    pub(crate) fn stop(&self) {
        self.change(false, json!({}), Value::Null);
    }

    fn change(&self, running: bool, networks: Value, network: Value) {
        let started = self.events.borrow().to_string();
        let state = json!({ "Running": running, "Pid": process::id(), "StartedAt": started });
        let container = json!({ "State": state, "NetworkSettings": { "Networks": networks } });
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known { container, network };
        self.events.send_modify(|events| *events += 1);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = fs::remove_file(&self.socket);
    }
}

/// Answers one request, as far as the tool asks.
async fn serve(
    client: UnixStream,
    known: &Mutex<Known>,
    mut happened: watch::Receiver<u32>,
) -> Option<()> {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    client.read_line(&mut request).await.ok()?;
    if request.starts_with("GET /events") {
        happened.mark_unchanged();
        client.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.ok()?;
        while happened.changed().await.is_ok() {
            client.write_all(b"{}\n").await.ok()?;
        }
        return None;
    }
    let said = {
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if request.starts_with("GET /containers/") { &known.container } else { &known.network }
            .to_string()
    };
    client.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{said}").as_bytes()).await.ok()
}
