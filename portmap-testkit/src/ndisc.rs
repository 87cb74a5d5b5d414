//! IPv6 neighbour discovery without its delays.

use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::error::{LabError, Step};
use crate::node::Node;

/// How long the kernel may take to join a group: it is work of a kernel thread, commonly done in 1 ms.
const LIMIT: Duration = Duration::from_secs(10);

/// No duplicate address detection on a link: its link-local address serves neighbour discovery at
/// once, rather than a second after the link came up.
pub(crate) async fn skip_detection(node: &Node, link: &str) -> Result<(), LabError> {
    node.sysctl(&format!("net/ipv6/conf/{link}/accept_dad"), "0").await
}

/// Waits until the link answers solicitations for an address it has.
///
/// The kernel joins the address's solicited-node group some time after it has acknowledged the
/// address. A solicitation that comes earlier is lost, and the next one comes a second later.
pub(crate) async fn answers(node: &Node, link: &str, address: Ipv6Addr) -> Result<(), LabError> {
    let group = solicited_node(address);
    let link = link.to_owned();
    let joined = node.run(async move {
        let wait = async {
            while !lists(&fs::read_to_string("/proc/thread-self/net/igmp6")?, &link, &group) {
                sleep(Duration::from_millis(1)).await;
            }
            io::Result::Ok(())
        };
        timeout(LIMIT, wait).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    });
    joined.await.step(|| format!("wait for {} to answer for {address}", node.name()))
}

/// ff02::1:ffXX:XXXX, with the address's last 24 bits, as `/proc` writes it.
fn solicited_node(address: Ipv6Addr) -> String {
    let [.., a, b, c] = address.octets();
    format!("ff0200000000000000000001ff{a:02x}{b:02x}{c:02x}")
}

/// A line is `2    eth0            ff0200000000000000000001ff000002     1 00000004 0`.
fn lists(table: &str, link: &str, group: &str) -> bool {
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(link) && words.next() == Some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_on_its_link() {
        let table = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                     2    eth0            ff0200000000000000000001ff000002     1 00000004 0\n";
        let group = solicited_node("fd00:172:17::2".parse().unwrap());
        assert!(lists(table, "eth0", &group));
        assert!(!lists(table, "lo", &group));
        assert!(!lists(table, "eth0", &solicited_node("fd00:172:17::3".parse().unwrap())));
    }
}
