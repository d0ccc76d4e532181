//! What is kept of a request that has no body, so that it can be sent once more.
//!
//! When it is, is decided beside, in `mod.rs`.

use http::{Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::body::Body;

/// A request without its body. The fields are a list, which costs less to make than a map; few are
/// ever sent again.
pub(super) struct HeadCopy {
    method: Method,
    uri: Uri,
    version: Version,
    fields: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
}

impl HeadCopy {
    /// Copies all of it, since another target may get the copy.
    pub(super) fn of(request: &Request<Body>) -> Self {
        let fields = request.headers().iter();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            fields: fields.map(|(name, value)| (name.clone(), value.clone())).collect(),
            extensions: request.extensions().clone(),
        }
    }

    /// Makes the request once more.
    pub(super) fn into_request(self) -> Request<Body> {
        let mut request = Request::new(Body::default());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions;
        for (name, value) in self.fields {
            request.headers_mut().append(name, value);
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_is_made_once_more() {
        let request = Request::put("/a?b=c")
            .version(Version::HTTP_10)
            .header("host", "a.com")
            .header("x-list", "1")
            .header("x-other", "2")
            .header("x-list", "3")
            .extension("kept")
            .body(Body::default())
            .unwrap();
        let again = HeadCopy::of(&request).into_request();
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        assert_eq!(again.headers(), request.headers());
        assert_eq!(again.extensions().get::<&str>(), Some(&"kept"));
    }
}
