//! What is printed, and how.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    io::{Write, stdout},
    net::SocketAddr,
};

use portmap::Binding;

/// Prints a line. Where nobody reads any more, that is no reason to end.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(stdout().lock(), "{line}");
}

/// An error and its causes on one line, each said once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.ends_with(&said) {
            line = format!("{line}: {said}");
        }
        cause = error.source();
    }
    line
}

/// What is published, in columns.
pub(crate) struct Table<'a>(pub(crate) &'a [Binding]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().map(row);
        let rows: Vec<_> =
            std::iter::once(["protocol", "host address", "endpoint"].map(str::to_owned))
                .chain(rows)
                .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (protocol, host) = (width(0), width(1));
        let lines: Vec<_> = rows
            .iter()
            .map(|row| format!("{:protocol$}  {:host$}  {}", row[0], row[1], row[2]))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

fn row(binding: &Binding) -> [String; 3] {
    let ports = binding.container_ports();
    let endpoint: Vec<_> = binding
        .endpoint()
        .addrs()
        .map(|addr| match SocketAddr::new(addr, 0) {
            SocketAddr::V4(_) => format!("{addr}:{ports}"),
            SocketAddr::V6(_) => format!("[{addr}]:{ports}"),
        })
        .collect();
    [
        binding.protocol().to_string(),
        format!("{}:{}", binding.host_addr(), binding.host_ports()),
        endpoint.join(", "),
    ]
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
