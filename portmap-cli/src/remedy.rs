//! What helps against an error of the library's, in this tool's words.

use std::error::Error;

use portmap::{BoxError, rules::ForwardingDropped};

/// Says what would help against an error that nothing is published for, where that is known.
pub(crate) fn explain(error: BoxError) -> BoxError {
    match hint(error.as_ref()) {
        Some(hint) => format!("{hint}; --mode hybrid and --mode proxy do without").into(),
        None => error,
    }
}

/// The error and what would help, where that is known.
pub(crate) fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    Some(match cause::<ForwardingDropped>(error)? {
        ForwardingDropped::ByIptables => format!("{error}: --foreign-drop open opens a way"),
        _ => {
            let rules = "where its rules accept what is published, say --foreign-drop ignore";
            format!("{error}: {rules}; see publish doctor")
        }
    })
}

/// The error itself or one of its causes, where it is of this type.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(one) = cause {
        if let Some(found) = one.downcast_ref() {
            return Some(found);
        }
        cause = one.source();
    }
    None
}
