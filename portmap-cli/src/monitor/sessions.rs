//! Tells of each UDP session.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use portmap::{
    Protocol,
    proxy::{Exchanged, Session, SessionEnding},
};
use tower::Service;

use super::{
    by::{Both, By},
    connections::Report,
    flow::{Flow, How},
};

impl<S> Service<Session> for Report<S>
where
    S: Service<Session, Response = Exchanged>,
    S::Error: Error + 'static,
    S::Future: Send + 'static,
{
    type Response = Exchanged;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Exchanged, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, session: Session) -> Self::Future {
        let used = Some(session.local_addr());
        let (client, port) = (session.client(), session.container_port());
        let by = By::Proxy(session.progress());
        let flow = Flow::begin(&self.monitor, Protocol::Udp, (client, used), port, by);
        let forwarded = self.inner.call(session);
        Box::pin(async move {
            match forwarded.await {
                Ok(exchanged) => {
                    flow.end(how(exchanged));
                    Ok(exchanged)
                }
                Err(error) => {
                    flow.refused(&error);
                    Err(error)
                }
            }
        })
    }
}

fn how(exchanged: Exchanged) -> How {
    let Exchanged { observed, to_endpoint, to_client, ending, .. } = exchanged;
    let ending = match ending {
        SessionEnding::Evicted => "ended for another session",
        SessionEnding::Released => "ended by the release",
        SessionEnding::Retargeted => "ended when the container changed",
        _ => "",
    };
    How::Closed { observed, carried: Some(Both { to_endpoint, to_client }), ending }
}
