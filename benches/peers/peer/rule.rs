//! NAT as one would write it by hand.

use portmap::{BoxError, Protocol};

use crate::place::{CONTAINER, HOST_PORT, PORT, Place};

/// Adds or deletes the one rule that each port takes; that the host forwards is the place's doing.
pub(super) async fn each(
    place: &Place,
    what: &str,
    protocol: Protocol,
    ports: u16,
) -> Result<(), BoxError> {
    for number in 0..ports {
        let (host, container) = (HOST_PORT + number, PORT + number);
        let rule = format!(
            "-t nat {what} PREROUTING -p {protocol} --dport {host} -j DNAT --to-destination {CONTAINER}:{container}"
        );
        let output = place.host().exec("iptables", rule.split(' ')).await?;
        if !output.status.success() {
            return Err(output.stderr.into());
        }
    }
    Ok(())
}
