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
    /// Copies the head, and takes the extensions, which hyper does not read, but another target may.
    pub(super) fn of(request: &mut Request<Body>) -> Self {
        let extensions = std::mem::take(request.extensions_mut());
        let fields = request.headers().iter();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            fields: fields.map(|(name, value)| (name.clone(), value.clone())).collect(),
            extensions,
        }
    }

    /// Returns a request that was not sent with the extensions that were taken from it.
    pub(super) fn give_back(copy: Option<Self>, mut request: Request<Body>) -> Request<Body> {
        if let Some(copy) = copy {
            *request.extensions_mut() = copy.extensions;
        }
        request
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
        let mut request = Request::put("/a?b=c")
            .version(Version::HTTP_10)
            .header("host", "a.com")
            .header("x-list", "1")
            .header("x-other", "2")
            .header("x-list", "3")
            .extension("kept")
            .body(Body::default())
            .unwrap();
        let copy = HeadCopy::of(&mut request);
        let again = copy.into_request();
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        assert_eq!(again.headers(), request.headers());
        assert_eq!(again.extensions().get::<&str>(), Some(&"kept"));

        request.extensions_mut().insert("taken");
        let copy = HeadCopy::of(&mut request);
        assert_eq!(request.extensions().get::<&str>(), None);
        let request = HeadCopy::give_back(Some(copy), request);
        assert_eq!(request.extensions().get::<&str>(), Some(&"taken"));
    }
}
