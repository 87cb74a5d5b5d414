//! One line for each UDP session, when it has ended.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use portmap::proxy::{Carried, Exchanged, Session, SessionEnding};
use tower::Service;

use crate::{
    connections::Report,
    output::{Bytes, say},
};

impl<S> Service<Session> for Report<S>
where
    S: Service<Session, Response = Exchanged>,
    S::Future: Send + 'static,
{
    type Response = Exchanged;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Exchanged, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, session: Session) -> Self::Future {
        let begin = Instant::now();
        let (client, used) = (session.client(), session.local_addr());
        let forwarded = self.inner.call(session);
        Box::pin(async move {
            let exchanged = forwarded.await?;
            let Exchanged { observed, to_endpoint, to_client, ending, .. } = exchanged;
            let ending = match ending {
                SessionEnding::Evicted => ", ended for another session",
                SessionEnding::Released => ", ended by the release",
                _ => "",
            };
            say(format_args!(
                "{client} to {used}/udp, seen as {observed}, {} in, {} out, {:.1?}{ending}",
                amount(to_endpoint),
                amount(to_client),
                begin.elapsed(),
            ));
            Ok(exchanged)
        })
    }
}

/// `35 B (1 datagram)`
fn amount(carried: Carried) -> String {
    let plural = if carried.datagrams == 1 { "" } else { "s" };
    format!("{} ({} datagram{plural})", Bytes(carried.bytes), carried.datagrams)
}
