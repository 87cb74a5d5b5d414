//! Requests and responses as bytes: no socket in here.

/// No request head is longer than this; curl's has about 80 bytes.
pub(super) const HEAD_LIMIT: usize = 8 * 1024;

/// What the bytes that have come so far are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Not yet a whole head.
    Partial,
    /// A whole head, `length` bytes of the buffer.
    Request { length: usize, body: bool, keep: bool },
    /// `GET /path` and an empty line, without a version: HTTP as it was in 1991.
    Bare,
    /// Nothing that could be answered with a page: a status line's end and the last word.
    Refused(&'static str),
}

const BAD: Head = Head::Refused("400 Bad Request");
const TOO_LARGE: Head = Head::Refused("431 Request Header Fields Too Large");

/// Looks at the bytes that have come so far.
pub(super) fn parse(bytes: &[u8]) -> Head {
    if let Some(bare) = parse_bare(bytes) {
        return bare;
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_LIMIT => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_LIMIT => return Head::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return TOO_LARGE,
        Err(_) => return BAD,
    };
    let body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Head::Refused("405 Method Not Allowed"),
    };
    // A request with content of its own is answered, and its content never looked at.
    let has_content = request.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("transfer-encoding")
            || (header.name.eq_ignore_ascii_case("content-length") && header.value != b"0")
    });
    let asks_to_close = request.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("connection")
            && header
                .value
                .split(|byte| *byte == b',')
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    });
    Head::Request {
        length,
        body,
        keep: request.version == Some(1) && !asks_to_close && !has_content,
    }
}

/// `None` when it is no bare request.
fn parse_bare(bytes: &[u8]) -> Option<Head> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let bytes = &bytes[start..];
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let mut words = bytes[..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    if (words.next()?, words.next().is_some(), words.next()) != (b"GET", true, None) {
        return None;
    }
    let rest = &bytes[end..];
    let ended = rest.windows(2).any(|pair| pair == b"\n\n")
        || rest.windows(3).any(|three| three == b"\n\r\n");
    Some(match ended {
        true => Head::Bare,
        false if start + bytes.len() < HEAD_LIMIT => Head::Partial,
        false => TOO_LARGE,
    })
}

/// A response: its head, and the text as well if `body`.
pub(super) fn response(status: &str, text: &str, body: bool, keep: bool) -> String {
    let connection = if keep { "keep-alive" } else { "close" };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let length = text.len();
    let content = if body { text } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{allow}\
         Connection: {connection}\r\n\r\n{content}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: bool, keep: bool, text: &str) -> Head {
        Head::Request { length: text.len(), body, keep }
    }

    #[test]
    fn http_1_1_is_kept_alive_unless_it_asks_to_close() {
        for (text, keep) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nconnection: te, Close\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.1\n\n", true),
        ] {
            assert_eq!(parse(text.as_bytes()), request(true, keep, text), "{text:?}");
        }
    }

    #[test]
    fn head_gets_no_body() {
        let text = "HEAD / HTTP/1.1\r\n\r\n";
        assert_eq!(parse(text.as_bytes()), request(false, true, text));
        assert!(response("200 OK", "1234", false, true).ends_with("\r\n\r\n"));
        assert!(response("200 OK", "1234", false, true).contains("Content-Length: 4\r\n"));
    }

    #[test]
    fn a_bare_get_waits_for_its_empty_line() {
        for text in ["GET /\n\n", "GET /\r\n\r\n", "\r\nGET / \n\r\n", "GET /\r\n\n"] {
            assert_eq!(parse(text.as_bytes()), Head::Bare, "{text:?}");
        }
        for text in ["", "\n", "G", "GET /", "GET /\n", "GET /\r\n\r"] {
            assert_eq!(parse(text.as_bytes()), Head::Partial, "{text:?}");
        }
    }

    #[test]
    fn every_prefix_of_a_request_is_partial() {
        let text = b"GET /path HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), Head::Partial, "{end}");
        }
    }

    #[test]
    fn a_pipelined_request_is_left_in_the_buffer() {
        let one = "GET / HTTP/1.1\r\n\r\n";
        assert_eq!(parse(format!("{one}{one}").as_bytes()), request(true, true, one));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "\0\0\0\0\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET\n\n",
        ] {
            assert_eq!(parse(text.as_bytes()), BAD, "{text:?}");
        }
        assert_eq!(parse(b"POST / HTTP/1.1\r\n\r\n"), Head::Refused("405 Method Not Allowed"));
    }

    #[test]
    fn a_head_without_end_is_too_large() {
        let long = "a".repeat(HEAD_LIMIT);
        for text in [format!("GET /{long}"), format!("GET /\n{long}"), "\n".repeat(HEAD_LIMIT)] {
            assert_eq!(parse(text.as_bytes()), TOO_LARGE);
        }
        let many = "a: b\r\n".repeat(65);
        assert_eq!(parse(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), TOO_LARGE);
    }
}
