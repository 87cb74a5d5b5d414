//! A container's name.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

/// A name or an ID of a container, in the form that Docker gives them: what stands in a request's path needs no escapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContainerName(String);

impl FromStr for ContainerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let may = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        match begins && text.bytes().all(may) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("{text:?} cannot be the name of a container")),
        }
    }
}

impl Display for ContainerName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
