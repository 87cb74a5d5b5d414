//! Dropping the future of a publish publishes nothing.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use portmap_core::{BoxPortMapper, PortMapper, Publish};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::clauses;
use super::publishing::both;
use super::trial::Trial;
use crate::site::request;
use crate::suite::TestResult;

clauses![CLAUSES:
    a_publish_that_is_dropped_while_it_waits_leaves_nothing,
    a_publish_that_is_dropped_when_it_is_woken_leaves_nothing,
    a_publish_that_is_dropped_after_some_time_leaves_nothing,
];

/// Dropped soon after it has begun: tasks of the mapper have had a few turns, from none at all to some.
async fn a_publish_that_is_dropped_while_it_waits_leaves_nothing(trial: &Trial) -> TestResult {
    for turns in 0..10 {
        leaves_nothing(trial, async move |mapper, asked| {
            let mut publish = pin!(mapper.publish(asked));
            // What is published by now is dropped, too.
            let begun = poll_fn(|context| Poll::Ready(publish.as_mut().poll(context)));
            drop(begun.await);
            for _ in 0..turns {
                yield_now().await;
            }
        })
        .await?;
    }
    can_publish(trial).await
}

/// Dropped when it would go on for the n-th time: what it had waited for is there, and nobody takes it.
async fn a_publish_that_is_dropped_when_it_is_woken_leaves_nothing(trial: &Trial) -> TestResult {
    for wakes in 1..6 {
        leaves_nothing(trial, async move |mapper, asked| {
            let mut publish = pin!(mapper.publish(asked));
            let mut left = wakes;
            poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                publish.as_mut().poll(context).map(drop)
            })
            .await;
        })
        .await?;
    }
    can_publish(trial).await
}

async fn a_publish_that_is_dropped_after_some_time_leaves_nothing(trial: &Trial) -> TestResult {
    for millis in [1, 2, 4, 8, 16] {
        leaves_nothing(trial, async move |mapper, asked| {
            drop(timeout(Duration::from_millis(millis), mapper.publish(asked)).await);
        })
        .await?;
    }
    can_publish(trial).await
}

fn asked(trial: &Trial) -> Result<Publish, crate::BoxError> {
    request(trial.site.web(), &both(trial, "8080-8083:80-83", "8080:80/udp"))
}

async fn leaves_nothing<F, Fut>(trial: &Trial, cancel: F) -> TestResult
where
    F: FnOnce(BoxPortMapper, Publish) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    trial.site.host().run(cancel(trial.mapper(), asked(trial)?)).await;
    trial.becomes_free(8080).await?;
    trial.answers(8080, None).await
}

async fn can_publish(trial: &Trial) -> TestResult {
    let lease = trial.try_publish(asked(trial)?).await?;
    trial.answers(8080, Some("web")).await?;
    trial.release(lease).await
}
