//! Why NAT cannot work where others drop what is forwarded.

use std::{error, fmt};

/// Others drop forwarded packets by default, and [`Policy::foreign_drop`](portmap_rules::Policy) does not help against it: the cause of a
/// publish that is [`Unsupported`](portmap_core::ErrorKind::Unsupported), whose message names the chain.
///
/// It is a type of its own for programs that have other words for the policy, options say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingDropped {
    /// By iptables: [`ForeignDrop::Open`](portmap_rules::ForeignDrop::Open) opens a way.
    ByIptables,
    /// By a chain of nftables, in which nobody else can open one. Where its rules accept what is published,
    /// [`ForeignDrop::Ignore`](portmap_rules::ForeignDrop::Ignore) publishes in spite of its policy.
    ByNftables,
}

impl fmt::Display for ForwardingDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByIptables => "Policy::foreign_drop leaves it alone, and can open a way through it",
            Self::ByNftables => {
                "no way can be opened in a table of nftables; where its rules accept what is published, Policy::foreign_drop can ignore it"
            }
        })
    }
}

impl error::Error for ForwardingDropped {}
