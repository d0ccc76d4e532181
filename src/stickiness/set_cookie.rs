//! The Set-Cookie fields of the cookie and of its twin: names, attributes, and when a client may
//! forget them.
//!
//! What their value is, and when it is written, is `cookie.rs`'s affair.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header::SET_COOKIE};

/// What is added to the name for the twin's; ALB's.
const TWIN: &str = "CORS";

/// The last moment that a date of HTTP can say, since 1970.
const DATE_MAX: Duration = Duration::from_secs(253_402_300_799);

/// How the cookie is written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) name: String,
    /// Follows the name, the value and the end.
    pub(super) attributes: String,
    pub(super) twin: Option<Twin>,
    /// Whether its end is a moment, ALB's way, and not an age.
    pub(super) expires: bool,
}

/// A second cookie of the same value, for requests from other sites.
#[derive(Clone, Debug)]
pub(super) struct Twin {
    name: String,
    attributes: [String; 2],
}

impl Twin {
    /// The twin of a cookie of this name; `common` are the attributes that both have.
    pub(super) fn of(name: &str, common: &str, secure: bool) -> Self {
        let plain = format!("{common}; SameSite=None");
        let secured = format!("{plain}; Secure");
        let plain = if secure { secured.clone() } else { plain };
        Self { name: format!("{name}{TWIN}"), attributes: [plain, secured] }
    }
}

/// When a client may forget what is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Counted from the response on.
    pub(super) age: Duration,
    /// Since 1970.
    pub(super) moment: Duration,
}

/// The fields of one value.
#[derive(Debug)]
pub(super) struct Fields {
    own: HeaderValue,
    /// The twin's, for a client without and with TLS.
    twin: Option<[HeaderValue; 2]>,
}

impl Form {
    pub(super) fn twin_name(&self) -> Option<&str> {
        self.twin.as_ref().map(|twin| &*twin.name)
    }

    /// Writes a value; `None` only if no field can hold it.
    pub(super) fn fields(&self, value: &str, end: End) -> Option<Fields> {
        let end = if self.expires {
            let moment = UNIX_EPOCH + end.moment.min(DATE_MAX);
            format!("Expires={}", httpdate::fmt_http_date(moment))
        } else {
            // Rounded up, so that the client never forgets too early.
            format!("Max-Age={}", end.age.as_millis().div_ceil(1000))
        };
        let field = |name: &str, attributes: &str| {
            HeaderValue::try_from(format!("{name}={value}; {end}{attributes}")).ok()
        };
        let own = field(&self.name, &self.attributes)?;
        let twin = match &self.twin {
            None => None,
            Some(Twin { name, attributes: [plain, secured] }) => {
                Some([field(name, plain)?, field(name, secured)?])
            }
        };
        Some(Fields { own, twin })
    }
}

impl Fields {
    /// Adds them to a response; one of as many fields as a map can hold goes without.
    pub(super) fn append(&self, headers: &mut HeaderMap, https: bool) {
        let twin = self.twin.as_ref().map(|[plain, secured]| if https { secured } else { plain });
        for field in std::iter::once(&self.own).chain(twin) {
            let _ = headers.try_append(SET_COOKIE, field.clone());
        }
    }
}
