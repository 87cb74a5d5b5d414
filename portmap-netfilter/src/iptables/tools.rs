//! Which programs are iptables here.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use portmap_rules::Family;

use super::IptablesError;

/// The programs that write and read the rules of both families. Those for IPv6 may be missing: they are needed where
/// a network has IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IptablesTools {
    pub(super) variant: IptablesVariant,
    v4: Pair,
    v6: Option<Pair>,
}

/// The programs for one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub restore: PathBuf,
    pub save: PathBuf,
}

/// Which part of the kernel iptables speaks to. A host should use one alone: neither sees the other's rules, and a
/// packet passes through both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IptablesVariant {
    /// nftables, by a layer of compatibility.
    Nft,
    /// The old one.
    Legacy,
}

impl IptablesTools {
    /// The host's own iptables, whichever variant that is.
    ///
    /// # Errors
    /// [`IptablesError::Missing`], [`IptablesError::Run`].
    pub fn find() -> Result<Self, IptablesError> {
        let variant = ask(&locate("iptables-restore")?)?;
        Self::from_names(variant, "")
    }

    /// The host's iptables of a variant: by the variant's name (`iptables-legacy-restore`), else its own iptables if
    /// that is of this variant.
    ///
    /// # Errors
    /// [`IptablesError::Missing`], [`IptablesError::Run`].
    pub fn of(variant: IptablesVariant) -> Result<Self, IptablesError> {
        Self::from_names(variant, variant.infix()).or_else(|missing| match Self::find() {
            Ok(found) if found.variant == variant => Ok(found),
            _ => Err(missing),
        })
    }

    /// The programs of a directory: `iptables-restore` and `-save`, and the same for `ip6tables`.
    ///
    /// # Errors
    /// [`IptablesError::Run`] where they can't be asked for their variant.
    pub fn within(directory: &Path) -> Result<Self, IptablesError> {
        let pair = |stem: &str| Pair {
            restore: directory.join(format!("{stem}-restore")),
            save: directory.join(format!("{stem}-save")),
        };
        let (v4, v6) = (pair("iptables"), pair("ip6tables"));
        Ok(Self { variant: ask(&v4.restore)?, v4, v6: Some(v6) })
    }

    /// The variant.
    pub const fn variant(&self) -> IptablesVariant {
        self.variant
    }

    pub(super) fn of_family(&self, family: Family) -> Result<&Pair, IptablesError> {
        let pair = match family {
            Family::Ipv4 => Some(&self.v4),
            Family::Ipv6 => self.v6.as_ref(),
        };
        pair.ok_or_else(|| IptablesError::Missing("ip6tables-restore".to_owned()))
    }

    fn from_names(variant: IptablesVariant, infix: &str) -> Result<Self, IptablesError> {
        let pair = |stem| -> Result<Pair, IptablesError> {
            Ok(Pair {
                restore: locate(&format!("{stem}{infix}-restore"))?,
                save: locate(&format!("{stem}{infix}-save"))?,
            })
        };
        Ok(Self { variant, v4: pair("iptables")?, v6: pair("ip6tables").ok() })
    }
}

impl IptablesVariant {
    const fn infix(self) -> &'static str {
        match self {
            Self::Nft => "-nft",
            Self::Legacy => "-legacy",
        }
    }
}

impl fmt::Display for IptablesVariant {
    /// As `iptables --version` says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nft => "nf_tables",
            Self::Legacy => "legacy",
        })
    }
}

/// Where a program is. A service's PATH often lacks the directories of the administrator's programs.
fn locate(name: &str) -> Result<PathBuf, IptablesError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(more)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| IptablesError::Missing(name.to_owned()))
}

/// `iptables-restore v1.8.9 (nf_tables)`; before 1.8 there was but one, and nothing in brackets.
fn ask(restore: &Path) -> Result<IptablesVariant, IptablesError> {
    let output = Command::new(restore).arg("--version").output();
    let output = output.map_err(|source| {
        let tool = restore.to_owned();
        IptablesError::Run { tool, source }
    })?;
    let nft = String::from_utf8_lossy(&output.stdout).contains("nf_tables");
    Ok(if nft { IptablesVariant::Nft } else { IptablesVariant::Legacy })
}
