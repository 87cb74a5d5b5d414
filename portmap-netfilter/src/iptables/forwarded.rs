//! What iptables has for forwarded packets.

use portmap_rules::Family;

use super::{IptablesTools, IptablesVariant, run};

/// Whether legacy iptables drops what it is not told to accept. Where there is no tool to ask, nobody has told it to.
pub(crate) fn drops_forwarded(family: Family) -> bool {
    let saved = IptablesTools::of(IptablesVariant::Legacy)
        .and_then(|tools| run::save(&tools.of_family(family)?.save));
    match saved {
        Ok(saved) => drops(&saved),
        Err(error) => {
            tracing::debug!(%error, "legacy iptables cannot be read");
            false
        }
    }
}

fn drops(saved: &str) -> bool {
    let filter = saved.split('*').find(|table| table.starts_with("filter\n"));
    filter.is_some_and(|table| table.lines().any(|line| line.starts_with(":FORWARD DROP")))
}

#[cfg(test)]
mod tests {
    use super::drops;

    #[test]
    fn the_filter_tables_policy_counts() {
        assert!(drops("*mangle\n:FORWARD ACCEPT [0:0]\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n"));
        assert!(!drops("*mangle\n:FORWARD DROP [0:0]\nCOMMIT\n*filter\n:FORWARD ACCEPT [0:0]\n"));
    }
}
