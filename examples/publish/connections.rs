//! One line for each connection: a layer around the proxy's service. `sessions` has the same for UDP.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use portmap::proxy::{Connection, Ending, Side, Transferred};
use tower::{Layer, Service, layer::layer_fn};

use crate::output::{Bytes, say};

/// The layer.
pub(crate) fn report<S>() -> impl Layer<S, Service = Report<S>> + Clone {
    layer_fn(|inner| Report { inner })
}

/// The service in its place.
#[derive(Clone, Debug)]
pub(crate) struct Report<S> {
    pub(crate) inner: S,
}

impl<S> Service<Connection> for Report<S>
where
    S: Service<Connection, Response = Transferred>,
    S::Future: Send + 'static,
{
    type Response = Transferred;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Transferred, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let begin = Instant::now();
        let client = connection.client();
        let used = connection.local_addr();
        let forwarded = self.inner.call(connection);
        Box::pin(async move {
            let transferred = forwarded.await?;
            let used = used.map_or("?".to_owned(), |addr| addr.to_string());
            let Transferred { observed, to_endpoint, to_client, ending, .. } = transferred;
            let ending = match ending {
                Ending::Reset(Side::Client) => ", reset by the client",
                Ending::Reset(Side::Endpoint) => ", reset by the container",
                _ => "",
            };
            say(format_args!(
                "{client} to {used}, seen as {observed}, {} in, {} out, {:.1?}{ending}",
                Bytes(to_endpoint),
                Bytes(to_client),
                begin.elapsed(),
            ));
            Ok(transferred)
        })
    }
}
