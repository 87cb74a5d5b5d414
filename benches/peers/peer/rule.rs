//! NAT as one would write it by hand.

use portmap::{BoxError, Protocol};

use crate::place::{CONTAINER, HOST_PORT, PORT, Place};

/// The one rule that it takes; that the host forwards is the place's doing.
pub(super) async fn add(place: &Place, protocol: Protocol) -> Result<(), BoxError> {
    let rule = format!(
        "-t nat -A PREROUTING -p {protocol} --dport {HOST_PORT} -j DNAT --to-destination {CONTAINER}:{PORT}"
    );
    let output = place.host().exec("iptables", rule.split(' ')).await?;
    match output.status.success() {
        true => Ok(()),
        false => Err(output.stderr.into()),
    }
}
