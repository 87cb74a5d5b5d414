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
    fault: watch::Sender<Option<Fault>>,
    /// Counts requests.
    requests: watch::Sender<u32>,
    known_requests: u32,
    serving: JoinHandle<()>,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes a request, and says nothing.
    Silent,
    /// It answers, and what it says never ends: the head, the body, or an event.
    EndlessHead,
    EndlessBody,
    EndlessEvent,
    /// It ends before it has said all.
    Short,
    /// It speaks another language.
    Babbling,
    /// It has an error to report, with text that a terminal would obey.
    Failing,
}

/// The error of an engine that is [`Fault::Failing`].
pub(crate) const FAILED: &str = "\u{1b}[2J\u{9b}31m failed\n\u{202e}really";

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
        let (fault, requests) = (watch::Sender::new(None), watch::Sender::new(0));
        let asked = requests.clone();
        let (said, happened, broken) = (Arc::clone(&known), events.clone(), fault.clone());
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (said, happened) = (Arc::clone(&said), happened.subscribe());
                let (broken, asked) = (broken.subscribe(), asked.clone());
                tokio::spawn(async move { serve(client, &said, happened, broken, &asked).await });
            }
        });
        Ok(Self { socket, known, events, fault, requests, known_requests: 0, serving })
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

    /// From now on it has a fault, or none any more. Whoever listens to its events loses it.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.fault.send_replace(fault);
    }

    /// Waits for a request that none of these calls has returned for.
    pub(crate) async fn asked(&mut self) -> Result<(), BoxError> {
        let (mut requests, known) = (self.requests.subscribe(), self.known_requests);
        self.known_requests = *requests.wait_for(|count| *count > known).await?;
        Ok(())
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
    mut broken: watch::Receiver<Option<Fault>>,
    asked: &watch::Sender<u32>,
) -> Option<()> {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    client.read_line(&mut request).await.ok()?;
    asked.send_modify(|count| *count += 1);
    let is_events = request.starts_with("GET /events");
    let fault = *broken.borrow_and_update();
    match fault {
        // Where events are asked for alone: a container can be looked at meanwhile.
        Some(Fault::EndlessEvent) if !is_events => {}
        Some(fault) => return fail(client, fault).await,
        None => {}
    }
    if is_events {
        happened.mark_unchanged();
        client.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.ok()?;
        loop {
            tokio::select! {
                happened = happened.changed() => happened.ok()?,
                _ = broken.changed() => return None,
            }
            client.write_all(b"{}\n").await.ok()?;
        }
    }
    let said = {
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if request.starts_with("GET /containers/") { &known.container } else { &known.network }
            .to_string()
    };
    client.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{said}").as_bytes()).await.ok()
}

/// Answers until nobody listens any more.
async fn fail(mut client: BufReader<UnixStream>, fault: Fault) -> Option<()> {
    let begin: &[u8] = match fault {
        Fault::Silent => {
            // Until the other end has gone.
            while client.read_line(&mut String::new()).await.ok()? > 0 {}
            return None;
        }
        Fault::EndlessHead => b"HTTP/1.0 200 OK\r\nServer: ",
        Fault::EndlessBody | Fault::EndlessEvent => b"HTTP/1.0 200 OK\r\n\r\n",
        Fault::Short => b"HTTP/1.0 200 OK\r\nContent-Length: 5000\r\n\r\n{",
        Fault::Babbling => b"\x1b[2J 220 ready\r\n",
        Fault::Failing => b"HTTP/1.0 500 Internal Server Error\r\n\r\n",
    };
    client.write_all(begin).await.ok()?;
    match fault {
        Fault::Failing => {
            let said = json!({ "message": FAILED }).to_string();
            client.write_all(said.as_bytes()).await.ok()
        }
        Fault::Short | Fault::Babbling | Fault::Silent => Some(()),
        Fault::EndlessHead | Fault::EndlessBody | Fault::EndlessEvent => loop {
            client.write_all(&[b'x'; 16 << 10]).await.ok()?;
        },
    }
}
