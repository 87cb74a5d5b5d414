//! What is behind an error.

use std::{error::Error, io, iter::successors};

/// The error itself and what is behind it, however it was wrapped.
///
/// An [`io::Error`] that was made of another error gives that one's cause as its own, and would hide it.
pub(crate) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |error: &&'e (dyn Error + 'static)| {
        let error: &'e (dyn Error + 'static) = *error;
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

/// The error itself or the first behind it that is a `T`.
pub(crate) fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// The number that the system gave: the first that there is.
pub(crate) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    causes(error).find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error())
}

/// The first kind that says something.
pub(crate) fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let kinds = causes(error).filter_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()));
    kinds.into_iter().find(|kind| *kind != io::ErrorKind::Other)
}

#[cfg(test)]
mod tests {
    use portmap_core::{Error as Named, ErrorKind};

    use super::*;

    #[test]
    fn what_is_behind_is_found_however_it_is_wrapped() {
        let refused = || io::Error::from_raw_os_error(111);
        let named = || Named::new(ErrorKind::Middleware, "dial").with_source(refused());
        let wrapped: [Box<dyn Error>; 4] = [
            Box::new(refused()),
            Box::new(io::Error::other(refused())),
            Box::new(named()),
            Box::new(io::Error::other(io::Error::other(named()))),
        ];
        for error in wrapped {
            assert_eq!(errno(error.as_ref()), Some(111), "{error:?}");
            assert_eq!(io_kind(error.as_ref()), Some(io::ErrorKind::ConnectionRefused));
        }
        assert_eq!(errno(&io::Error::other("mine")), None);
    }
}
