//! What is kept of a request that has no body, so that it can be sent once more.
//!
//! hyper takes a request apart to write it, so what is kept is what was written: few requests are ever
//! sent again, and a copy of the fields costs each of them more than reading costs those few. When one
//! is, is decided beside, in `sending.rs`.

use std::{
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use http::{Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::body::Body;

/// The memory for heads that an idle connection holds on to; longer ones are forgotten once their
/// answer is there.
const HEAD_KEPT: usize = 4 * 1024;

/// The head that was written last over a connection, if it was to be kept. hyper writes the head of a
/// request without a body at once.
#[derive(Default)]
pub(super) struct KeptHead {
    /// The number of the exchange whose head is written next and is to be kept; 0 if none is.
    due: AtomicU64,
    /// Of which exchange it is, and what it is.
    head: Mutex<(u64, Vec<u8>)>,
    is_long: AtomicBool,
}

impl KeptHead {
    /// Has the head kept that is written next, of the exchange of this number.
    pub(super) fn keep(&self, exchange: u64) {
        self.due.store(exchange, Ordering::Relaxed);
    }

    /// Keeps what is written if it is such a head.
    pub(super) fn writes(&self, bytes: &[u8]) {
        let exchange = self.due.load(Ordering::Relaxed);
        if exchange == 0 {
            return;
        }
        self.due.store(0, Ordering::Relaxed);
        self.is_long.store(bytes.len() > HEAD_KEPT, Ordering::Relaxed);
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        // The same memory for each request.
        head.0 = exchange;
        head.1.clear();
        head.1.extend_from_slice(bytes);
    }

    /// Gives the memory of a long head back, since its answer is there.
    pub(super) fn forget_long(&self) {
        // Few are, and to look costs less than to write.
        if self.is_long.load(Ordering::Relaxed) && self.is_long.swap(false, Ordering::Relaxed) {
            *self.head.lock().unwrap_or_else(PoisonError::into_inner) = (0, Vec::new());
        }
    }

    /// Takes the head of an exchange, if it was written, or was to be.
    fn take(&self, exchange: u64) -> Option<Vec<u8>> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        (head.0 == exchange).then(|| mem::take(&mut *head).1)
    }
}

/// What is known beside of a request whose head is kept as it is written.
pub(super) struct HeadCopy {
    /// What hyper does not read, but another target may.
    extensions: Extensions,
    /// By which its head is known from what else may be written first.
    method: Method,
    length_of_path: usize,
}

impl HeadCopy {
    /// Takes the extensions of a request that is about to be sent.
    pub(super) fn of(request: &mut Request<Body>) -> Self {
        Self {
            extensions: mem::take(request.extensions_mut()),
            method: request.method().clone(),
            length_of_path: length_of_path(request.uri()),
        }
    }

    /// Returns a request that was not sent with the extensions that were taken from it.
    pub(super) fn give_back(copy: Option<Self>, mut request: Request<Body>) -> Request<Body> {
        if let Some(copy) = copy {
            *request.extensions_mut() = copy.extensions;
        }
        request
    }

    /// Makes the request of an exchange once more, of what was kept.
    pub(super) fn into_request(self, kept: &KeptHead, exchange: u64) -> Option<Request<Body>> {
        let mut request = read(&kept.take(exchange)?)?;
        let is_it = *request.method() == self.method
            && length_of_path(request.uri()) == self.length_of_path;
        *request.extensions_mut() = self.extensions;
        is_it.then_some(request)
    }
}

fn length_of_path(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// Reads a head that hyper has written.
fn read(head: &[u8]) -> Option<Request<Body>> {
    let lines = head.strip_suffix(b"\r\n\r\n")?.split(|&byte| byte == b'\n');
    let mut lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next()?.split(|&byte| byte == b' ');
    let mut request = Request::new(Body::default());
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    *request.version_mut() = match words.next()? {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        _ => return None,
    };
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let value = HeaderValue::from_bytes(value.strip_prefix(b": ")?).ok()?;
        request.headers_mut().append(HeaderName::from_bytes(name).ok()?, value);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::endpoint::upload::Upload;

    /// Returns what hyper writes of a request.
    fn written(request: Request<Body>) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(ours));
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            let _answer = sender.try_send_request(request.map(Upload::new));
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(theirs.read_buf(&mut head).await.unwrap(), 0);
            }
            head
        })
    }

    fn request_of(
        method: &str,
        uri: &str,
        version: Version,
        fields: &[(&str, &[u8])],
    ) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        request.body(Body::default()).unwrap()
    }

    fn check(method: &str, uri: &str, version: Version, fields: &[(&str, &[u8])]) {
        let request = request_of(method, uri, version, fields);
        let again = read(&written(request_of(method, uri, version, fields))).unwrap();
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        // What hyper adds belongs to the connection.
        let mut headers = again.headers().clone();
        if version == Version::HTTP_10 {
            headers.remove("connection");
        }
        assert_eq!(&headers, request.headers(), "{method} {uri} {fields:?}");
    }

    #[test]
    fn what_hyper_writes_is_the_same_request() {
        let v11 = Version::HTTP_11;
        check("GET", "/", v11, &[("host", b"a.com")]);
        check(
            "PUT",
            "/a?b=c:d",
            v11,
            &[("host", b"a.com:80"), ("x", b"1"), ("y", b"2"), ("x", b"")],
        );
        check("OPTIONS", "*", v11, &[("host", b"a")]);
        check(
            "HEAD",
            "//a:b//%20/?",
            v11,
            &[("x-long", &[b'x'; 20_000]), ("x-bytes", b"a\xff: b")],
        );
        check("M-SEARCH", "/", Version::HTTP_10, &[("host", b"a"), ("cookie", b"a=b; c=\"d\"")]);
    }

    #[test]
    fn what_is_no_whole_head_is_no_request() {
        for head in [
            &b""[..],
            b"GET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost\r\n\r\n",
        ] {
            assert!(read(head).is_none(), "{head:?}");
        }
    }

    #[test]
    fn a_head_is_that_of_its_exchange_or_none() {
        let kept = KeptHead::default();
        let head = b"PUT /a HTTP/1.1\r\nhost: a\r\n\r\n";
        let copy = || HeadCopy::of(&mut request_of("PUT", "/a", Version::HTTP_11, &[]));
        kept.writes(b"what nobody asked for");
        assert!(copy().into_request(&kept, 1).is_none());
        // It was to be written, but never was.
        kept.keep(1);
        assert!(copy().into_request(&kept, 1).is_none());
        kept.writes(head);
        kept.writes(b"what follows");
        assert!(copy().into_request(&kept, 2).is_none());
        assert_eq!(copy().into_request(&kept, 1).unwrap().headers()["host"], "a");
        // The one before was written, and this one never was.
        kept.keep(5);
        kept.writes(head);
        kept.keep(6);
        assert!(copy().into_request(&kept, 6).is_none());
        // What was left of another head came first.
        for other in ["PUT /ab HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1\r\n\r\n", "x: y\r\n\r\n"] {
            kept.keep(3);
            kept.writes(other.as_bytes());
            assert!(copy().into_request(&kept, 3).is_none(), "{other}");
        }
        let long = format!("PUT /a HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(HEAD_KEPT));
        for (head, is_kept) in [(long.as_bytes(), false), (head, true)] {
            kept.keep(4);
            kept.writes(head);
            kept.forget_long();
            assert_eq!(copy().into_request(&kept, 4).is_some(), is_kept);
        }
    }

    proptest! {
        #[test]
        fn any_head_can_be_made_once_more(
            path in "/[!-\"$-~]{0,30}",
            fields in proptest::collection::vec(("[a-z0-9!#$%&'*+.^_`|~-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..9),
        ) {
            prop_assume!(path.parse::<Uri>().is_ok());
            // What hyper acts upon itself.
            let framing = ["connection", "content-length", "transfer-encoding", "upgrade", "te"];
            prop_assume!(!fields.iter().any(|(name, _)| framing.contains(&&**name)));
            let fields = fields.iter().map(|(name, value)| (&**name, value.as_bytes()));
            check("GET", &path, Version::HTTP_11, &fields.collect::<Vec<_>>());
        }
    }
}
