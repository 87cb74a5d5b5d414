//! One thing that was looked at.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at: one word.
    check: &'static str,
    pub(super) state: State,
    /// What was found, and what that means.
    found: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// Not wrong, but good to know: something is not possible here, or will be done on the way.
    Note,
    Wrong,
    /// It could not be seen.
    Unknown,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), mend: None }
    }

    pub(super) fn note(check: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Note, ..Self::ok(check, found) }
    }

    pub(super) fn wrong(check: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Wrong, ..Self::ok(check, found) }
    }

    pub(super) fn unknown(check: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Unknown, ..Self::ok(check, found) }
    }

    /// The command that mends it.
    pub(super) fn mend(self, command: impl Into<String>) -> Self {
        Self { mend: Some(command.into()), ..self }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { check, state, found, mend } = self;
        let state = match state {
            State::Ok => "ok",
            State::Note => "note",
            State::Wrong => "WRONG",
            State::Unknown => "?",
        };
        write!(f, "{state:5}  {check:12}  {found}")?;
        match mend {
            Some(mend) => write!(f, "\n{:21}# {mend}", ""),
            None => Ok(()),
        }
    }
}
