//! Tells of each connection: a layer around the proxy's service. `sessions` does the same for UDP.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use portmap::{
    Protocol,
    proxy::{Carried, Connection, Ending, Side, Transferred},
};
use tower::Service;

use super::{
    Monitor,
    by::{Both, By},
    flow::{Flow, How},
};

/// The service in its place.
#[derive(Clone, Debug)]
pub(crate) struct Report<S> {
    pub(super) inner: S,
    pub(super) monitor: Monitor,
}

impl<S> Service<Connection> for Report<S>
where
    S: Service<Connection, Response = Transferred>,
    S::Error: Error + 'static,
    S::Future: Send + 'static,
{
    type Response = Transferred;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Transferred, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let used = connection.local_addr().ok();
        let (client, port) = (connection.client(), connection.container_port());
        let by = By::Proxy(connection.progress());
        let flow = Flow::begin(&self.monitor, Protocol::Tcp, (client, used), port, by);
        let forwarded = self.inner.call(connection);
        Box::pin(async move {
            match forwarded.await {
                Ok(transferred) => {
                    flow.end(how(transferred));
                    Ok(transferred)
                }
                Err(error) => {
                    flow.refused(&error);
                    Err(error)
                }
            }
        })
    }
}

fn how(transferred: Transferred) -> How {
    let Transferred { observed, to_endpoint, to_client, ending, .. } = transferred;
    let carried = |bytes| Carried { bytes, ..Carried::default() };
    let ending = match ending {
        Ending::Reset(Side::Client) => "reset by the client",
        Ending::Reset(Side::Endpoint) => "reset by the container",
        _ => "",
    };
    let both = Both { to_endpoint: carried(to_endpoint), to_client: carried(to_client) };
    How::Closed { observed, carried: Some(both), ending }
}
