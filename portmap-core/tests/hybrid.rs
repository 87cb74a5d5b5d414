//! Two mappers for one port: in which order they are asked, and what is undone when.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::{Future, ready},
    net::TcpStream,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use portmap_core::{
    Binding, Endpoint, Error, ErrorKind, Established, Hold, HybridMapper, Lease, NotReleased,
    PortMapper, PortSpec, Protocol, Publish, Reservation, ServedBy,
};
use tower_test::mock::{self, Mock};

type Log = Arc<Mutex<Vec<String>>>;
type Handle = mock::Handle<Publish, Lease>;

/// Panics when it is asked: proof that it was not.
#[derive(Clone, Debug)]
struct NeverAsked;

impl PortMapper for NeverAsked {
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        panic!("asked for {request:?}")
    }
}

/// What a mock mapper has in force; writes down what becomes of it.
#[derive(Debug)]
struct Noted {
    name: &'static str,
    log: Log,
    stuck: bool,
    over: bool,
    refuses: Option<(Endpoint, ErrorKind)>,
}

impl Noted {
    fn new(name: &'static str, log: &Log) -> Self {
        Self { name, log: Arc::clone(log), stuck: false, over: false, refuses: None }
    }

    fn stuck(mut self) -> Self {
        self.stuck = true;
        self
    }

    fn refusing(self, endpoint: Endpoint) -> Self {
        self.refusing_as(endpoint, ErrorKind::Invalid)
    }

    fn refusing_as(mut self, endpoint: Endpoint, kind: ErrorKind) -> Self {
        self.refuses = Some((endpoint, kind));
        self
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.log.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl Hold for Noted {
    fn release(
        mut self: Box<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>> {
        self.over = true;
        self.note("released");
        Box::pin(ready(match self.stuck {
            false => Ok(()),
            true => {
                (self.stuck, self.over) = (false, false);
                Err(NotReleased { error: Error::new(ErrorKind::Backend, "stuck"), hold: self })
            }
        }))
    }

    fn disarm(mut self: Box<Self>) {
        self.over = true;
        self.note("disarmed");
    }

    fn retarget<'a>(
        &'a mut self,
        to: Endpoint,
        _: Established,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        self.note(format_args!("to {}", to.v4().unwrap()));
        Box::pin(ready(match self.refuses {
            Some((refused, kind)) if refused == to => Err(Error::new(kind, "not there")),
            _ => Ok(()),
        }))
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if !self.over {
            self.note("dropped");
        }
    }
}

/// Two mocks, and what happens to their leases.
struct Pair {
    mapper: HybridMapper<Mock<Publish, Lease>, Mock<Publish, Lease>>,
    proxy: Handle,
    rules: Handle,
    log: Log,
}

impl Pair {
    fn new() -> Self {
        let (proxy, proxy_handle) = mock::pair();
        let (rules, rules_handle) = mock::pair();
        let mapper = HybridMapper::new(proxy, rules);
        Self { mapper, proxy: proxy_handle, rules: rules_handle, log: Log::default() }
    }

    fn begin(&self, request: Publish) -> tokio::task::JoinHandle<Result<Lease, Error>> {
        let mapper = self.mapper.clone();
        tokio::spawn(async move { mapper.publish(request).await })
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// Answers the next request as a mapper would that does all of it.
async fn grant(handle: &mut Handle, hold: Noted) -> Publish {
    let (request, reply) = handle.next_request().await.unwrap();
    let bindings = Reservation::take(&request).await.unwrap().bindings().cloned().collect();
    hold.note("asked");
    reply.send_response(Lease::new(bindings, hold));
    request
}

async fn refuse(handle: &mut Handle, kind: ErrorKind) {
    let (_, reply) = handle.next_request().await.unwrap();
    reply.send_error(Error::new(kind, "no"));
}

fn request(specs: &[&str]) -> Publish {
    specs.iter().fold(Publish::new([192, 0, 2, 2]), |request, spec| {
        request.with(spec.parse::<PortSpec>().unwrap())
    })
}

fn port(binding: &Binding) -> u16 {
    binding.host_ports().first().number()
}

async fn is_free(binding: &Binding) -> bool {
    let spec: PortSpec = format!("127.0.0.1:{}:80", port(binding)).parse().unwrap();
    Reservation::take(&Publish::new([192, 0, 2, 2]).with(spec)).await.is_ok()
}

#[tokio::test]
async fn ports_are_reserved_then_ruled_then_served_and_let_go_the_other_way() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80"]));
    let rules = grant(&mut pair.rules, Noted::new("rules", &pair.log)).await;
    // The number is settled, and the port taken, before anybody is asked.
    let reserved = rules.reserved(0).unwrap().clone();
    assert!(!is_free(reserved.binding()).await);
    let addr = format!("127.0.0.1:{}", port(reserved.binding()));
    TcpStream::connect_timeout(&addr.parse().unwrap(), Duration::from_secs(1)).unwrap_err();

    let proxy = grant(&mut pair.proxy, Noted::new("proxy", &pair.log)).await;
    assert_eq!(proxy, rules);
    let binding = reserved.binding().clone();
    drop((rules, proxy, reserved));
    let lease = publishing.await.unwrap().unwrap();
    assert_eq!(lease.bindings(), std::slice::from_ref(&binding));
    assert!(!is_free(&binding).await);
    lease.release().await.unwrap();
    assert_eq!(pair.log(), ["rules asked", "proxy asked", "proxy released", "rules released"]);
    assert!(is_free(&binding).await);
}

#[tokio::test]
async fn a_port_that_is_taken_is_asked_of_nobody() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("{}:80", taken.local_addr().unwrap());
    let mapper = HybridMapper::new(NeverAsked, NeverAsked);
    let error = mapper.publish(request(&[&spec])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let error = mapper.publish(request(&["8080:80", "8080:81"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn where_the_rules_fail_the_proxy_is_not_asked() {
    let (rules, mut handle) = mock::pair::<Publish, Lease>();
    let mapper = HybridMapper::new(NeverAsked, rules);
    let publishing = tokio::spawn(async move { mapper.publish(request(&["127.0.0.1::80"])).await });
    refuse(&mut handle, ErrorKind::Denied).await;
    assert_eq!(publishing.await.unwrap().unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn where_the_proxy_fails_the_rules_are_released_before_the_error_returns() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80"]));
    let asked = grant(&mut pair.rules, Noted::new("rules", &pair.log)).await;
    refuse(&mut pair.proxy, ErrorKind::Exhausted).await;
    let error = publishing.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Exhausted, "no".to_owned()));
    assert_eq!(pair.log(), ["rules asked", "rules released"]);
    let binding = asked.reserved(0).unwrap().binding().clone();
    drop(asked);
    assert!(is_free(&binding).await);
}

#[tokio::test]
async fn a_cancelled_publish_leaves_nothing_wherever_it_was() {
    for proxy_answers in [false, true] {
        let mut pair = Pair::new();
        let publishing = pair.begin(request(&["127.0.0.1::80"]));
        let asked = grant(&mut pair.rules, Noted::new("rules", &pair.log)).await;
        let (pending, reply) = pair.proxy.next_request().await.unwrap();
        publishing.abort();
        publishing.await.unwrap_err();
        if proxy_answers {
            // Nobody waits for it: it comes back to nobody, and is dropped.
            reply.send_response(Lease::new(Vec::new(), Noted::new("proxy", &pair.log)));
        }
        let mut expected = vec!["rules asked", "rules dropped"];
        expected.extend(proxy_answers.then_some("proxy dropped"));
        assert_eq!(pair.log(), expected);
        let binding = asked.reserved(0).unwrap().binding().clone();
        drop((asked, pending));
        assert!(is_free(&binding).await);
    }
}

#[tokio::test]
async fn what_rules_do_not_support_is_left_to_the_proxy() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80"]));
    refuse(&mut pair.rules, ErrorKind::Unsupported).await;
    grant(&mut pair.proxy, Noted::new("proxy", &pair.log)).await;
    let lease = publishing.await.unwrap().unwrap();
    assert_eq!(lease.bindings().len(), 1);
    let alone: Vec<_> = lease.served_alone().map(|one| (&one.binding, one.by)).collect();
    assert_eq!(alone, [(&lease.bindings()[0], ServedBy::Proxy)]);
    lease.release().await.unwrap();
    assert_eq!(pair.log(), ["proxy asked", "proxy released"]);
}

#[tokio::test]
async fn rules_that_are_required_must_support_everything() {
    let (rules, mut handle) = mock::pair::<Publish, Lease>();
    let mapper = HybridMapper::new(NeverAsked, rules).require_rules();
    let publishing = tokio::spawn(async move { mapper.publish(request(&["127.0.0.1::80"])).await });
    refuse(&mut handle, ErrorKind::Unsupported).await;
    assert_eq!(publishing.await.unwrap().unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_mapping_that_one_does_not_support_leaves_the_others_to_both() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80", "127.0.0.1::90/sctp"]));
    grant(&mut pair.rules, Noted::new("rules", &pair.log)).await;
    refuse(&mut pair.proxy, ErrorKind::Unsupported).await;
    let tcp = grant(&mut pair.proxy, Noted::new("proxy", &pair.log)).await;
    assert_eq!(tcp.mappings().len(), 1);
    assert_eq!(tcp.mappings()[0].protocol(), Protocol::Tcp);
    refuse(&mut pair.proxy, ErrorKind::Unsupported).await;
    let mut lease = publishing.await.unwrap().unwrap();
    let protocols: Vec<_> = lease.bindings().iter().map(Binding::protocol).collect();
    assert_eq!(protocols, [Protocol::Tcp, Protocol::Sctp]);
    let alone = lease.served_alone().next().unwrap();
    assert_eq!((&alone.binding, alone.by), (&lease.bindings()[1], ServedBy::Rules));
    assert_eq!(alone.reason.kind(), ErrorKind::Unsupported);
    let elsewhere = Endpoint::from([192, 0, 2, 9]);
    lease.retarget(elsewhere, Established::Keep).await.unwrap();
    assert_eq!(lease.served_alone().next().unwrap().binding, lease.bindings()[1]);
}

#[tokio::test]
async fn what_neither_supports_fails_and_nothing_of_the_rest_stays() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80", "127.0.0.1::90/sctp"]));
    for handle in [&mut pair.rules, &mut pair.proxy] {
        refuse(handle, ErrorKind::Unsupported).await;
        grant(handle, Noted::new("it", &pair.log)).await;
        refuse(handle, ErrorKind::Unsupported).await;
    }
    assert_eq!(publishing.await.unwrap().unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(pair.log(), ["it asked", "it asked", "it released", "it released"]);
}

#[tokio::test]
async fn rules_with_bindings_of_their_own_need_no_host_port_and_no_proxy() {
    let (rules, mut handle) = mock::pair::<Publish, Lease>();
    let mapper = HybridMapper::new(NeverAsked, rules);
    let publishing = tokio::spawn(async move { mapper.publish(request(&["127.0.0.1::80"])).await });
    let (asked, reply) = handle.next_request().await.unwrap();
    let reserved = asked.reserved(0).unwrap().binding().clone();
    drop(asked);
    let ports = reserved.container_ports();
    let (protocol, host) = (reserved.protocol(), portmap_core::HostAddr::Any);
    let routed = Binding::new(protocol, host, ports.first(), reserved.endpoint(), ports).unwrap();
    let noted = Noted::new("it", &Log::default());
    reply.send_response(Lease::new(vec![routed.clone()], noted));
    let lease = publishing.await.unwrap().unwrap();
    assert_eq!(lease.bindings(), [routed]);
    assert!(is_free(&reserved).await);
}

/// What a routed network makes of a binding: the container's own ports.
fn routed(reserved: &Binding) -> Binding {
    let ports = reserved.container_ports();
    let (protocol, host) = (reserved.protocol(), portmap_core::HostAddr::Any);
    Binding::new(protocol, host, ports.first(), reserved.endpoint(), ports).unwrap()
}

/// Answers for two mappings, the first of which is routed and the second not supported.
async fn route_the_first(handle: &mut Handle, log: &Log) -> Binding {
    refuse(handle, ErrorKind::Unsupported).await;
    let (asked, reply) = handle.next_request().await.unwrap();
    let first = asked.reserved(0).unwrap().binding().clone();
    drop(asked);
    reply.send_response(Lease::new(vec![routed(&first)], Noted::new("rules", log)));
    refuse(handle, ErrorKind::Unsupported).await;
    first
}

#[tokio::test]
async fn what_a_routed_network_does_not_support_is_left_to_the_proxy() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80", "127.0.0.1::90"]));
    let first = route_the_first(&mut pair.rules, &pair.log).await;
    let asked = grant(&mut pair.proxy, Noted::new("proxy", &pair.log)).await;
    let second = asked.reserved(0).unwrap().binding().clone();
    assert_eq!((asked.mappings().len(), second.container_ports()), (1, "90".parse().unwrap()));
    drop(asked);
    let lease = publishing.await.unwrap().unwrap();
    assert_eq!(lease.bindings(), [routed(&first), second.clone()]);
    let alone: Vec<_> = lease.served_alone().map(|one| (&one.binding, one.by)).collect();
    assert_eq!(alone, [(&second, ServedBy::Proxy)]);
    assert!(is_free(&first).await && !is_free(&second).await);
    lease.release().await.unwrap();
    assert!(is_free(&second).await);
    assert_eq!(pair.log(), ["proxy asked", "proxy released", "rules released"]);
}

#[tokio::test]
async fn rules_that_are_required_must_support_everything_in_a_routed_network_too() {
    let (rules, mut handle) = mock::pair::<Publish, Lease>();
    let mapper = HybridMapper::new(NeverAsked, rules).require_rules();
    let asked = request(&["127.0.0.1::80", "127.0.0.1::90"]);
    let publishing = tokio::spawn(async move { mapper.publish(asked).await });
    let log = Log::default();
    route_the_first(&mut handle, &log).await;
    assert_eq!(publishing.await.unwrap().unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(*log.lock().unwrap(), ["rules released"]);
}

#[tokio::test]
async fn a_release_that_fails_keeps_the_port_and_can_be_tried_again() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80"]));
    grant(&mut pair.rules, Noted::new("rules", &pair.log).stuck()).await;
    grant(&mut pair.proxy, Noted::new("proxy", &pair.log)).await;
    let lease = publishing.await.unwrap().unwrap();
    let binding = lease.bindings()[0].clone();
    let failed = lease.release().await.unwrap_err();
    assert_eq!(failed.error().to_string(), "stuck");
    assert!(!is_free(&binding).await);
    failed.into_lease().release().await.unwrap();
    assert!(is_free(&binding).await);
    assert_eq!(pair.log()[2..], ["proxy released", "rules released", "rules released"]);
}

#[tokio::test]
async fn a_retarget_that_the_proxy_refuses_is_undone_in_the_rules() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80"]));
    let bad = Endpoint::from([192, 0, 2, 66]);
    grant(&mut pair.rules, Noted::new("rules", &pair.log)).await;
    grant(&mut pair.proxy, Noted::new("proxy", &pair.log).refusing(bad)).await;
    let mut lease = publishing.await.unwrap().unwrap();

    lease.retarget([192, 0, 2, 3], Established::Keep).await.unwrap();
    assert_eq!(lease.bindings()[0].endpoint(), [192, 0, 2, 3].into());
    let error = lease.retarget(bad, Established::Cut).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(lease.bindings()[0].endpoint(), [192, 0, 2, 3].into());
    let expected = ["rules to 192.0.2.3", "proxy to 192.0.2.3"];
    assert_eq!(pair.log()[2..4], expected);
    let undone = ["rules to 192.0.2.66", "proxy to 192.0.2.66", "rules to 192.0.2.3"];
    assert_eq!(pair.log()[4..], undone);

    let error = lease.retarget([0, 0, 0, 0], Established::Keep).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(pair.log().len(), 7);
    drop(lease);
    assert_eq!(pair.log()[7..], ["proxy dropped", "rules dropped"]);
}

#[tokio::test]
async fn what_the_rules_cannot_be_led_to_is_left_to_the_proxy() {
    let mut pair = Pair::new();
    let publishing = pair.begin(request(&["127.0.0.1::80"]));
    let dropped = Endpoint::from([192, 0, 2, 66]);
    let rules = Noted::new("rules", &pair.log).refusing_as(dropped, ErrorKind::Unsupported);
    grant(&mut pair.rules, rules).await;
    grant(&mut pair.proxy, Noted::new("proxy", &pair.log)).await;
    let mut lease = publishing.await.unwrap().unwrap();
    assert_eq!(lease.served_alone().count(), 0);

    lease.retarget(dropped, Established::Keep).await.unwrap();
    assert_eq!(lease.bindings()[0].endpoint(), dropped);
    let [alone] = &lease.served_alone().collect::<Vec<_>>()[..] else { panic!("one is") };
    assert_eq!((&alone.binding, alone.by), (&lease.bindings()[0], ServedBy::Proxy));
    assert_eq!(alone.reason.to_string(), "not there");
    assert_eq!(pair.log()[2..], ["rules to 192.0.2.66", "proxy to 192.0.2.66", "rules released"]);
    // From then on there is one alone to be led.
    lease.retarget([192, 0, 2, 3], Established::Keep).await.unwrap();
    assert_eq!(pair.log()[5..], ["proxy to 192.0.2.3"]);
}

#[tokio::test]
async fn rules_that_are_stuck_or_required_are_not_left() {
    let dropped = Endpoint::from([192, 0, 2, 66]);
    for required in [false, true] {
        let mut pair = Pair::new();
        if required {
            pair.mapper = pair.mapper.require_rules();
        }
        let publishing = pair.begin(request(&["127.0.0.1::80"]));
        let rules = Noted::new("rules", &pair.log).refusing_as(dropped, ErrorKind::Unsupported);
        grant(&mut pair.rules, if required { rules } else { rules.stuck() }).await;
        grant(&mut pair.proxy, Noted::new("proxy", &pair.log)).await;
        let mut lease = publishing.await.unwrap().unwrap();
        let before = lease.bindings()[0].endpoint();

        let error = lease.retarget(dropped, Established::Keep).await.unwrap_err();
        assert_eq!(error.to_string(), if required { "not there" } else { "stuck" });
        assert_eq!(lease.bindings()[0].endpoint(), before);
        assert_eq!(lease.served_alone().count(), 0);
        let back = format!("proxy to {}", before.v4().unwrap());
        let undone = ["rules to 192.0.2.66", "proxy to 192.0.2.66", "rules released", &back];
        assert_eq!(pair.log()[2..], undone[..if required { 1 } else { 4 }]);
    }
}
