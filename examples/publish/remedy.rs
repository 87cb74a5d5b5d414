//! What helps against an error of the library's, in this tool's words.

use std::error::Error;

use portmap::{BoxError, rules::ForwardingDropped};

/// Says what would help, where that is known.
pub(crate) fn explain(error: BoxError) -> BoxError {
    let others = "--mode hybrid and --mode proxy do without";
    match cause::<ForwardingDropped>(&error) {
        Some(ForwardingDropped::ByIptables) => {
            format!("{error}: --foreign-drop open opens a way, {others}").into()
        }
        Some(_) => {
            let rules = "where its rules accept what is published, say --foreign-drop ignore";
            format!("{error}: {rules}; {others}; see publish doctor").into()
        }
        None => error,
    }
}

/// The error itself or one of its causes, where it is of this type.
fn cause<T: Error + 'static>(error: &BoxError) -> Option<&T> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    while let Some(one) = cause {
        if let Some(found) = one.downcast_ref() {
            return Some(found);
        }
        cause = one.source();
    }
    None
}
