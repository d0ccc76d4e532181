//! Settings of the load-balancer cookie, checked as a whole.

use std::{fmt, time::Duration};

use super::{
    cookie::{DURATION_MAX, LoadBalancerCookie},
    seal::{CookieKey, Seal},
    set_cookie::{Form, Twin},
};
use crate::grammar;

/// The shortest session; ALB's.
const DURATION_MIN: Duration = Duration::from_secs(1);

/// The longest name of a cookie. With eight of the longest entries it fits into 4096 bytes, which is
/// what clients keep of a cookie (RFC 6265 §6.1).
const NAME_MAX: usize = 128;

/// The longest path and domain; clients ignore longer attributes (RFC 6265bis §5.6).
const ATTRIBUTE_MAX: usize = 1024;

/// Which requests from other sites carry the cookie (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// None.
    Strict,
    /// Only such as change the address the user sees.
    Lax,
    /// All; clients demand [`secure`](CookieBuilder::secure) with it.
    None,
}

impl fmt::Display for SameSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        })
    }
}

/// Makes a [`LoadBalancerCookie`].
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | `previous_key` | none | |
/// | `duration` | 1 day, of 1 second to 7 days | ALB's |
/// | `name` | `POINTSMAN` | |
/// | `path` | `/` | ALB's |
/// | `domain` | none: the host that was asked | ALB's |
/// | `secure` | false: the cookie also comes without TLS | ALB's |
/// | `http_only` | true: scripts do not see it | none needs to |
/// | `same_site` | not said: up to the client | ALB's |
/// | `cors` | false: no second cookie | |
/// | `expires` | false: the cookie ends by Max-Age, with its session | |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pointsman::stickiness::{CookieKey, LoadBalancerCookie, SameSite};
///
/// let key = CookieKey::generate()?;
/// let cookie = LoadBalancerCookie::builder(key.clone())
///     .duration(Duration::from_secs(3600))
///     .name("__Host-session")
///     .secure(true)
///     .same_site(SameSite::Lax)
///     .build()?;
/// # drop(cookie);
/// // Everything that is wrong is said at once.
/// let errors = LoadBalancerCookie::builder(key)
///     .name("my cookie")
///     .duration(Duration::ZERO)
///     .build()
///     .unwrap_err();
/// assert_eq!(errors.iter().count(), 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CookieBuilder {
    key: CookieKey,
    previous_key: Option<CookieKey>,
    duration: Duration,
    name: String,
    path: String,
    domain: Option<String>,
    secure: bool,
    http_only: bool,
    same_site: Option<SameSite>,
    cors: bool,
    expires: bool,
}

/// Why a cookie cannot be: everything that is wrong, one sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCookie {
    errors: Vec<String>,
}

impl InvalidCookie {
    /// Returns each error.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(String::as_str)
    }
}

impl fmt::Display for InvalidCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("load-balancer cookie cannot be built")?;
        self.errors.iter().try_for_each(|error| write!(f, "\n- {error}"))
    }
}

impl std::error::Error for InvalidCookie {}

impl LoadBalancerCookie {
    /// Begins a cookie that is sealed with this key.
    pub fn builder(key: CookieKey) -> CookieBuilder {
        CookieBuilder {
            key,
            previous_key: None,
            duration: Duration::from_secs(24 * 60 * 60),
            name: "POINTSMAN".to_owned(),
            path: "/".to_owned(),
            domain: None,
            secure: false,
            http_only: true,
            same_site: None,
            cors: false,
            expires: false,
        }
    }
}

impl CookieBuilder {
    /// Also opens what was sealed with this key.
    ///
    /// To change the key of several balancers without losing a session: first give all of them the
    /// new key as the previous one, then the new key with the old one as the previous, and after
    /// the longest session the new key alone.
    pub fn previous_key(mut self, key: CookieKey) -> Self {
        self.previous_key = Some(key);
        self
    }

    /// Sets how long a session lasts from its last response on: 1 second to 7 days.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Sets the cookie's name, at most 128 characters.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the path at and below which clients send the cookie.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Lets clients send the cookie to all hosts of a domain.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets whether clients send the cookie only over TLS; recommended where all is TLS.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets whether the cookie is hidden from scripts.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Sets which requests from other sites carry the cookie.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = Some(same_site);
        self
    }

    /// Sets whether a second cookie of the same value is written, its name that of the first and
    /// `CORS`, for requests from other sites, with which clients do not send the first.
    ///
    /// It is marked `SameSite=None`, and `Secure` if the first is or if this client came over TLS,
    /// without which clients refuse it. Of a client that sends both, this one counts.
    pub fn cors(mut self, cors: bool) -> Self {
        self.cors = cors;
        self
    }

    /// Sets whether the cookie ends by `Expires`, seven days after the response whatever the
    /// duration, as ALB's do, in place of Max-Age.
    pub fn expires(mut self, expires: bool) -> Self {
        self.expires = expires;
        self
    }

    /// Makes the cookie.
    ///
    /// # Errors
    ///
    /// If the duration is out of range, the name is no token, the path or the domain cannot be one,
    /// or clients would refuse the cookie: `SameSite=None` and the prefixes `__Secure-` and `__Host-`
    /// of a name demand `secure`, and the latter no domain and the path `/` (RFC 6265bis §5.7).
    pub fn build(self) -> Result<LoadBalancerCookie, InvalidCookie> {
        let errors = self.errors();
        if !errors.is_empty() {
            return Err(InvalidCookie { errors });
        }
        let seal = Seal::new(&self.name, &self.key, self.previous_key.as_ref());
        let form = Form {
            attributes: self.attributes(),
            twin: self.cors.then(|| Twin::of(&self.name, &self.twin_attributes(), self.secure)),
            name: self.name,
            expires: self.expires,
        };
        Ok(LoadBalancerCookie::new(form, seal, self.duration))
    }

    fn errors(&self) -> Vec<String> {
        let Self { name, path, domain, duration, .. } = self;
        let mut errors = Vec::new();
        let mut check = |holds: bool, error: fmt::Arguments<'_>| {
            if !holds {
                errors.push(error.to_string());
            }
        };
        check(
            (DURATION_MIN..=DURATION_MAX).contains(duration),
            format_args!("duration {duration:?}: expected 1s to 604800s"),
        );
        check(
            (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(grammar::in_token),
            format_args!(
                "name {name:?}: expected 1 to {NAME_MAX} letters, digits or any of !#$%&'*+-.^_`|~"
            ),
        );
        check(
            path.starts_with('/') && path.len() <= ATTRIBUTE_MAX && path.bytes().all(is_attribute),
            format_args!(
                "path {path:?}: expected / and up to {ATTRIBUTE_MAX} ASCII characters without \
                 control characters and ;"
            ),
        );
        if let Some(domain) = domain {
            check(
                (1..=ATTRIBUTE_MAX).contains(&domain.len()) && domain.bytes().all(is_domain),
                format_args!(
                    "domain {domain:?}: expected a host name in letters, digits, - _ and ."
                ),
            );
        }
        check(
            self.secure || self.same_site != Some(SameSite::None),
            format_args!("SameSite=None: expected with secure"),
        );
        let starts_with = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        check(
            self.secure || !starts_with("__Secure-"),
            format_args!("name {name:?}: expected with secure"),
        );
        check(
            !starts_with("__Host-") || (self.secure && domain.is_none() && path == "/"),
            format_args!("name {name:?}: expected with secure, path / and no domain"),
        );
        errors
    }

    /// Writes what follows the end.
    fn attributes(&self) -> String {
        let mut attributes = self.place();
        if self.secure {
            attributes.push_str("; Secure");
        }
        if self.http_only {
            attributes.push_str("; HttpOnly");
        }
        if let Some(same_site) = self.same_site {
            attributes.push_str("; SameSite=");
            attributes.push_str(&same_site.to_string());
        }
        attributes
    }

    /// Writes what the twin has in common with the first.
    fn twin_attributes(&self) -> String {
        let mut attributes = self.place();
        if self.http_only {
            attributes.push_str("; HttpOnly");
        }
        attributes
    }

    fn place(&self) -> String {
        let mut place = format!("; Path={}", self.path);
        if let Some(domain) = &self.domain {
            place.push_str("; Domain=");
            place.push_str(domain);
        }
        place
    }
}

fn is_attribute(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b';'
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}
