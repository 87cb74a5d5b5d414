//! Whose rules others can change.

use portmap_core::{Error, WithCauses};
use tracing::warn;

use super::{
    lookout::Signs,
    task::{Kernel, Task},
};
use crate::{Iptables, IptablesVariant, Nftables};

/// How many rule languages others can change our rules in: those that tell of it, and those that don't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exposed {
    told: usize,
    untold: usize,
}

impl Kernel {
    fn iptables(&self) -> impl Iterator<Item = &Iptables> {
        self.backend.iptables().into_iter().chain(self.way.iptables())
    }

    /// nftables, where its table has no owner.
    fn nftables(&self) -> Option<&Nftables> {
        self.backend.nftables().filter(|nftables| nftables.is_exposed())
    }

    fn exposed(&self) -> Exposed {
        let (told, untold): (Vec<_>, Vec<_>) =
            self.iptables().partition(|iptables| iptables.variant() == IptablesVariant::Nft);
        let told = told.len() + usize::from(self.nftables().is_some());
        Exposed { told, untold: untold.len() }
    }

    /// What tells that others have changed something. What changes without a word has to be looked at again and again, and
    /// the rest is looked at on that occasion.
    async fn signs(&self) -> Signs {
        let exposed = self.exposed();
        let watch = match (self.iptables().next(), self.nftables()) {
            _ if exposed.untold > 0 => return Signs::Untold,
            (Some(iptables), _) => iptables.watch().await.map_err(Error::from),
            (None, Some(nftables)) => nftables.watch().await.map_err(Error::from),
            (None, None) => return Signs::Never,
        };
        let own = self.iptables().map(Iptables::authors);
        let own = own.chain(self.backend.nftables().map(Nftables::authors));
        match watch {
            Ok(watch) => Signs::Told(watch.ignoring(own)),
            Err(error) => {
                let error = WithCauses(&error);
                warn!(%error, "changes by others are not told, and looked for");
                Signs::Untold
            }
        }
    }
}

impl Task {
    /// Watches what others can change, now that it may be more or less than before.
    pub(super) async fn keep_watch(&mut self) {
        let exposed = self.kernel.exposed();
        if exposed != self.watched {
            self.watched = exposed;
            self.lookout.go_by(self.kernel.signs().await);
        }
    }
}
