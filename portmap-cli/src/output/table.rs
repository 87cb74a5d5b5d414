//! Texts in columns, and numbers that fit these.

use std::fmt::{self, Display, Formatter};

use portmap::{Binding, Endpoint, HostAddr, HostPort, Mapping, PortRange, Protocol, Publish};

/// What is published, in columns.
pub(crate) struct Table(Vec<[String; 3]>);

impl Table {
    /// What is in force.
    pub(crate) fn of_bindings(bindings: &[Binding]) -> Self {
        Self::of(bindings.iter().map(|binding| {
            let host = format!("{}:{}", binding.host_addr(), binding.host_ports());
            row(binding.protocol(), host, binding.endpoint(), binding.container_ports())
        }))
    }

    /// What is asked for.
    pub(crate) fn of_requests(requests: &[Publish]) -> Self {
        let mappings = requests.iter().flat_map(|request| {
            request.mappings().iter().map(|mapping| (request.endpoint(), mapping))
        });
        Self::of(mappings.flat_map(|(endpoint, mapping)| {
            mapping.host().map(move |host| {
                let host = asked(host, mapping);
                row(mapping.protocol(), host, endpoint, mapping.container_ports())
            })
        }))
    }

    fn of(rows: impl Iterator<Item = [String; 3]>) -> Self {
        let head = ["protocol", "host address", "endpoint"].map(str::to_owned);
        Self(std::iter::once(head).chain(rows).collect())
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(rows) = self;
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (protocol, host) = (width(0), width(1));
        let lines: Vec<_> = rows
            .iter()
            .map(|row| format!("{:protocol$}  {:host$}  {}", row[0], row[1], row[2]))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

fn row(protocol: Protocol, host: String, endpoint: Endpoint, ports: PortRange) -> [String; 3] {
    let addrs = endpoint.addrs().map(|addr| format!("{}:{ports}", HostAddr::from(addr)));
    [protocol.to_string(), host, addrs.collect::<Vec<_>>().join(", ")]
}

/// The host's side before its ports are taken: `*:8080`, `*:ephemeral`, `*:(one of 8000-8010)`.
fn asked(host: HostAddr, mapping: &Mapping) -> String {
    match mapping.host_port() {
        HostPort::Exact(ports) => format!("{host}:{ports}"),
        HostPort::AnyOf(ports) => format!("{host}:(one of {ports})"),
        HostPort::Ephemeral => match mapping.container_ports().len() {
            1 => format!("{host}:ephemeral"),
            several => format!("{host}:(ephemeral, {several})"),
        },
    }
}

/// Rows of text in columns as wide as they have to be.
pub(crate) struct Columns<const N: usize>(Vec<[String; N]>);

impl<const N: usize> Columns<N> {
    pub(crate) fn new(head: [&str; N]) -> Self {
        Self(vec![head.map(str::to_owned)])
    }

    pub(crate) fn push(&mut self, row: [String; N]) {
        self.0.push(row);
    }
}

impl<const N: usize> Display for Columns<N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(rows) = self;
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<_> = (0..N).map(width).collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A number of bytes, to three digits.
pub(crate) struct Bytes(pub(crate) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1000.0 && unit + 1 < units.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = usize::from(value < 10.0) + usize::from(value < 100.0);
        write!(f, "{value:.digits$} {}", units[unit])
    }
}
