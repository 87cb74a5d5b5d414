//! Bridges that a killed process left behind.

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::{ALIAS, Bridge, GROUP, claim_name};
use crate::claim::Claim;
use crate::error::{LabError, Step};
use crate::link;
use crate::node::Node;

impl Bridge {
    /// Deletes the bridges `prefix0`, `prefix1`.. of a node that a process left when it was killed, and
    /// names them.
    ///
    /// A stale bridge carries our mark (its alias, its group) and its name is held by nobody: a living [`Bridge`] holds an
    /// abstract unix socket of the namespace. Bridges of other programs are never touched.
    ///
    /// # Errors
    /// The kernel's refusal; those that were deleted before it stay deleted.
    pub async fn sweep(node: &Node, prefix: &str) -> Result<Vec<String>, LabError> {
        let mut links = Vec::new();
        let mut dump = node.netlink().link().get().execute();
        while let Some(message) = dump.try_next().await.step(|| "list links".to_owned())? {
            links.push(message);
        }
        let mut swept = Vec::new();
        for (name, index) in links.iter().filter_map(|message| candidate(message, prefix)) {
            // Held until the link is gone, so that two sweepers can't both believe it stale, nor a
            // new owner take the name in between.
            let Some(_claim) = Claim::take(node, &claim_name(&name)).await? else {
                continue;
            };
            // Listed before the claim: meanwhile it may have gone or be another one.
            let still = link::find(node.netlink(), &name).await?;
            if still
                .is_some_and(|message| candidate(&message, prefix) == Some((name.clone(), index)))
            {
                link::delete_bridge(node.netlink(), index).await?;
                swept.push(name);
            }
        }
        Ok(swept)
    }
}

/// Name and number of a bridge of ours, dead or alive.
fn candidate(message: &LinkMessage, prefix: &str) -> Option<(String, u32)> {
    let (mut name, mut ours, mut bridge) = (None, false, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::IfAlias(alias) => ours |= alias == ALIAS,
            LinkAttribute::Group(group) => ours |= *group == GROUP,
            LinkAttribute::LinkInfo(infos) => {
                bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
            _ => {}
        }
    }
    let name = name.filter(|_| ours && bridge)?;
    let number = name.strip_prefix(prefix)?;
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    numbered.then(|| (name.clone(), message.header.index))
}
