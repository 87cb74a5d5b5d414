//! What speaking from clients' addresses takes of the host.

use portmap::{
    BoxError,
    proxy::SourceAddress,
    rules::{Network, TransparentRouting},
};

use crate::{args::Args, demo::Demo, plan::Plan};

/// Brings this tool the answers of containers to clients whose addresses it speaks from, where it does.
pub(super) async fn set_up(
    args: &Args,
    plan: &Plan,
    demo: Option<&Demo>,
) -> Result<Option<TransparentRouting>, BoxError> {
    if args.source() != SourceAddress::Transparent {
        return Ok(None);
    }
    let networks = plan.networks(args.networks());
    plan.check_addresses()?;
    plan.check_places(&networks)?;
    let own = demo.map(Demo::network).transpose()?.flatten();
    let bridges = networks.iter().chain(&own).map(Network::bridge);
    Ok(Some(TransparentRouting::set_up(bridges).await?))
}
