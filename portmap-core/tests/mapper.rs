//! The closed loop of mapper, service, layers and mapper again, and what a lease does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use portmap_core::{
    Binding, Error, ErrorKind, Hold, HostAddr, Lease, NotReleased, PortMapper, Protocol, Publish,
};
use tower::{ServiceBuilder, service_fn};

type Log = Arc<Mutex<Vec<String>>>;

/// A mapper that writes down what happens to its leases.
#[derive(Clone, Debug, Default)]
struct Recorder {
    log: Log,
}

#[derive(Debug)]
struct Recorded {
    name: &'static str,
    log: Log,
    fails: bool,
    over: bool,
}

impl Recorded {
    fn note(&mut self, what: &str) {
        self.over = true;
        self.log.lock().unwrap().push(format!("{what} {}", self.name));
    }
}

impl Hold for Recorded {
    fn release(
        mut self: Box<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>> {
        Box::pin(async move {
            if self.fails {
                self.fails = false;
                let error = Error::new(ErrorKind::Backend, "not now");
                return Err(NotReleased { error, hold: self });
            }
            self.note("released");
            Ok(())
        })
    }

    fn disarm(mut self: Box<Self>) {
        self.note("disarmed");
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.over {
            self.note("dropped");
        }
    }
}

fn binding() -> Binding {
    let host_port = "8080".parse().unwrap();
    let container = "80".parse().unwrap();
    Binding::new(Protocol::Tcp, HostAddr::Any, host_port, [192, 0, 2, 2].into(), container).unwrap()
}

fn lease(name: &'static str, log: &Log, fails: bool) -> Lease {
    let hold = Recorded { name, log: Arc::clone(log), fails, over: false };
    Lease::new(vec![binding()], hold)
}

impl PortMapper for Recorder {
    async fn publish(&self, _: Publish) -> Result<Lease, Error> {
        Ok(lease("it", &self.log, false))
    }
}

fn request() -> Publish {
    Publish::new([192, 0, 2, 2])
}

async fn publishes(mapper: impl PortMapper) {
    assert_eq!(mapper.publish(request()).await.unwrap().bindings(), [binding()]);
}

#[tokio::test]
async fn a_mapper_goes_through_middleware_and_is_a_mapper_again() {
    let recorder = Recorder::default();
    publishes(recorder.clone()).await;
    publishes(Arc::new(recorder.clone())).await;
    publishes(recorder.clone().into_service()).await;
    publishes(recorder.clone().into_boxed()).await;
    publishes(recorder.clone().into_boxed().into_boxed()).await;
    let stack = ServiceBuilder::new()
        .concurrency_limit(1)
        .timeout(Duration::from_secs(5))
        .service(recorder.into_service());
    publishes(stack.clone()).await;
    publishes(stack.into_boxed()).await;
    let log = Log::default();
    publishes(service_fn(move |_: Publish| {
        let lease = lease("it", &log, false);
        async { Ok::<_, Error>(lease) }
    }))
    .await;
}

#[tokio::test]
async fn a_mock_service_is_a_mapper() {
    let (mock, mut handle) = tower_test::mock::pair::<Publish, Lease>();
    // The mock itself is not `Sync`; a buffer in front of it is.
    let mapper = ServiceBuilder::new().buffer(1).service(mock);
    let answer = async {
        let (asked, respond) = handle.next_request().await.unwrap();
        assert_eq!(asked, request());
        respond.send_error(Error::new(ErrorKind::AddrInUse, "taken"));
    };
    let (published, ()) = tokio::join!(mapper.publish(request()), answer);
    assert_eq!(published.unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_time_limit_is_a_middleware_error_and_publishes_nothing() {
    let log = Log::default();
    let slow = {
        let log = Arc::clone(&log);
        service_fn(move |_: Publish| {
            let lease = lease("slow", &log, false);
            async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok::<_, Error>(lease)
            }
        })
    };
    let mapper = ServiceBuilder::new().timeout(Duration::from_millis(20)).service(slow);
    let error = mapper.publish(request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Middleware);
    assert_eq!(*log.lock().unwrap(), ["dropped slow"]);
}

#[tokio::test]
async fn joined_leases_are_released_in_reverse() {
    let log = Log::default();
    let both = || lease("first", &log, false).join(lease("second", &log, false));
    assert_eq!(both().bindings().len(), 2);
    both().release().await.unwrap();
    drop(both());
    assert_eq!(both().disarm().len(), 2);
    let expected = [
        "dropped second",
        "dropped first",
        "released second",
        "released first",
        "dropped second",
        "dropped first",
        "disarmed first",
        "disarmed second",
    ];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_release_that_fails_gives_the_lease_back() {
    let log = Log::default();
    let both = lease("first", &log, false).join(lease("second", &log, true));
    let error = both.release().await.unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::Backend);
    assert!(log.lock().unwrap().is_empty());
    let lease = error.into_lease();
    assert_eq!(lease.bindings().len(), 2);
    lease.release().await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["released second", "released first"]);
}

#[tokio::test]
async fn a_release_that_is_cancelled_goes_on() {
    let log = Log::default();
    drop(lease("it", &log, false).release());
    assert_eq!(*log.lock().unwrap(), ["dropped it"]);
}
