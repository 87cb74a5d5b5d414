//! One mapper, put to the test by every path.

use std::fmt;
use std::sync::Arc;

use portmap_core::{Binding, PortMapper, Protocol};

use super::scene::{Call, Scene};
use super::way::SPECS;
use super::{Cell, Family, Kind, Measured, Outcome, Path, SeenAs, Way};
use crate::error::BoxError;
use crate::site::{Setup, Site, request};

/// A column of the [`Matrix`](super::Matrix): a mapper, and what is expected of it.
pub struct Column {
    name: String,
    expected: Expected,
    predicted: Option<Predicted>,
    protocols: &'static [Protocol],
    headers: bool,
    setup: Setup,
}

type Expected = Box<dyn Fn(Path, Family, Protocol) -> Outcome<SeenAs> + Send>;
type Predicted = Box<dyn Fn(&Way, Protocol, &[Binding]) -> Result<Outcome, BoxError> + Send>;

impl Column {
    /// A column of a [`Kind`] of mappers. The function makes the mapper, and runs on the host of a
    /// [`Site`]: what it opens is in the host's namespace. What it hands out is kept until the end.
    pub fn new<F, Fut, M>(name: impl Into<String>, kind: Kind, mapper: F) -> Self
    where
        F: Fn(Arc<Site>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M, BoxError>> + Send + 'static,
        M: PortMapper,
    {
        Self {
            name: name.into(),
            expected: Box::new(move |path, family, protocol| kind.expected(path, family, protocol)),
            predicted: None,
            protocols: &[Protocol::Tcp, Protocol::Udp],
            headers: false,
            setup: Setup::new(mapper),
        }
    }

    /// Publishes no UDP ports, and calls none.
    #[must_use]
    pub fn without_udp(mut self) -> Self {
        self.protocols = &[Protocol::Tcp];
        self
    }

    /// Publishes a webapp that takes its callers from headers of the PROXY protocol, and answers nobody without one: see
    /// [`Webapp::start_proxied`](crate::Webapp::start_proxied).
    #[must_use]
    pub fn reads_headers(mut self) -> Self {
        self.headers = true;
        self
    }

    /// Expects something else for some calls: `None` leaves a call as it was.
    #[must_use]
    pub fn but<F>(mut self, other: F) -> Self
    where
        F: Fn(Path, Family, Protocol) -> Option<Outcome<SeenAs>> + Send + 'static,
    {
        let before = self.expected;
        self.expected = Box::new(move |path, family, protocol| {
            other(path, family, protocol).unwrap_or_else(|| before(path, family, protocol))
        });
        self
    }

    /// Adds a model that predicts what becomes of a call, from the bindings that are in force.
    #[must_use]
    pub fn predicted<F>(mut self, predicted: F) -> Self
    where
        F: Fn(&Way, Protocol, &[Binding]) -> Result<Outcome, BoxError> + Send + 'static,
    {
        self.predicted = Some(Box::new(predicted));
        self
    }

    /// Publishes, and makes every call.
    pub(super) async fn measure(self) -> Result<Measured, BoxError> {
        let site = Arc::new(Site::with_headers(self.headers).await?);
        let mapper = self.setup.make(&site).await?;
        let scene = Scene::new(&site).await?;
        let specs = self
            .protocols
            .iter()
            .flat_map(|protocol| SPECS.map(|spec| format!("{spec}/{protocol}")));
        let specs: Vec<_> = specs.collect();
        let specs: Vec<_> = specs.iter().map(String::as_str).collect();
        let lease = site.publish(&mapper, request(site.web(), &specs)?).await?;
        let mut calls = Vec::new();
        for way in scene.ways() {
            for &protocol in self.protocols {
                let expected = (self.expected)(way.path, way.family, protocol);
                calls.push(Call { way: way.clone(), protocol, expected });
            }
        }
        let mut cells = Vec::new();
        for (Call { way, protocol, expected }, observed, took) in scene.make(calls).await? {
            let predicted = self.predicted.as_ref();
            let predicted = predicted.map(|model| model(&way, protocol, lease.bindings()));
            let predicted = predicted.transpose()?;
            cells.push(Cell { way, protocol, expected, predicted, observed, took });
        }
        cells.sort_by_key(|cell| (cell.way.path, cell.way.family, cell.protocol));
        site.host().run(lease.release()).await?;
        site.host().run(async move { drop(mapper) }).await;
        Ok(Measured { name: self.name, cells })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column").field("name", &self.name).finish_non_exhaustive()
    }
}
