//! The spans and their fields, as `docs/observability.md` has them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::ErrorKind,
    sync::{Arc, Mutex},
    time::Duration,
};

use portmap_proxy::ProxyMapper;
use support::{addr, connect, container, publish, publish_udp, udp_container};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::sleep,
};
use tracing::{
    Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// A span that has ended: its target, level and name, and what was said of each of its fields.
#[derive(Clone, Debug)]
struct Seen {
    what: String,
    fields: BTreeMap<&'static str, String>,
}

/// Takes down all spans.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Seen>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        let what = format!("{} {} {}", metadata.target(), metadata.level(), metadata.name());
        let names = metadata.fields().iter().map(|field| (field.name(), String::new()));
        let mut seen = Seen { what, fields: names.collect() };
        attributes.record(&mut seen);
        context.span(id).unwrap().extensions_mut().insert(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(seen) = context.span(id).unwrap().extensions_mut().get_mut::<Seen>() {
            values.record(seen);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let seen = context.span(&id).unwrap().extensions_mut().remove::<Seen>();
        self.0.lock().unwrap().extend(seen);
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

impl Recorder {
    /// Waits for spans of this name, takes them out, and gives the last one's fields as text.
    async fn next(&self, name: &str) -> Vec<String> {
        let what = format!("portmap_proxy {} {name}", Level::DEBUG);
        for _ in 0..500 {
            let place = self.0.lock().unwrap().iter().position(|seen| seen.what == what);
            if let Some(place) = place {
                let seen = self.0.lock().unwrap().remove(place);
                return seen.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("no {what} within 5 s: {:#?}", self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn spans_tell_what_became_of_each_connection_session_and_publish() {
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    let _default = tracing::subscriber::set_default(subscriber);

    let container = container().await;
    let endpoint = container.local_addr().unwrap();
    let mapper = ProxyMapper::new();
    let lease = publish(&mapper, &container).await;
    let host = addr(&lease);
    let expected = [
        format!("bindings=tcp {host} -> {endpoint}"),
        "endpoint=127.0.0.1".to_owned(),
        format!("mappings=tcp 127.0.0.1:ephemeral -> {}", endpoint.port()),
    ];
    assert_eq!(recorder.next("publish").await, expected);

    let (mut client, mut stream) = connect(&lease, &container).await;
    let (from, observed) = (client.local_addr().unwrap(), stream.peer_addr().unwrap());
    client.write_all(b"12345").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    stream.write_all(b"123").await.unwrap();
    client.read_exact(&mut [0; 3]).await.unwrap();
    drop((client, stream));
    let expected = [
        format!("client={from}"),
        "ending=closed".to_owned(),
        format!("endpoint={endpoint}"),
        format!("local={host}"),
        format!("observed={observed}"),
        "to_client=3".to_owned(),
        "to_endpoint=5".to_owned(),
    ];
    assert_eq!(recorder.next("connection").await, expected);

    // One that does not reach its container, and one that is cut.
    let refused = async {
        let mut client = TcpStream::connect(host).await.unwrap();
        let from = client.local_addr().unwrap();
        let error = client.read(&mut [0; 1]).await.expect_err("no reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        from
    };
    drop(container);
    let from = refused.await;
    let expected = [
        format!("client={from}"),
        "ending=dial_refused".to_owned(),
        "endpoint=".to_owned(),
        format!("local={host}"),
        "observed=".to_owned(),
        "to_client=0".to_owned(),
        "to_endpoint=0".to_owned(),
    ];
    assert_eq!(recorder.next("connection").await, expected);

    let container = support::container().await;
    let lease = publish(&mapper.drain_limit(Duration::from_millis(50)), &container).await;
    let _ends = connect(&lease, &container).await;
    lease.release().await.unwrap();
    assert!(recorder.next("connection").await.contains(&"ending=cut".to_owned()));

    let container = udp_container().await;
    let endpoint = container.local_addr().unwrap();
    let mapper = ProxyMapper::new().session_idle(Duration::from_millis(50));
    let lease = publish_udp(&mapper, &container).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"12345", addr(&lease)).await.unwrap();
    let (_, observed) = container.recv_from(&mut [0; 8]).await.unwrap();
    let expected = [
        format!("client={}", client.local_addr().unwrap()),
        "ending=idle".to_owned(),
        format!("endpoint={endpoint}"),
        format!("local={}", addr(&lease)),
        format!("observed={observed}"),
        "to_client=0".to_owned(),
        "to_endpoint=5".to_owned(),
    ];
    assert_eq!(recorder.next("session").await, expected);
}
