//! The load-balancer cookie: which of a request's cookies is it, what does it say, and when is it
//! written anew.
//!
//! Its settings are checked in `builder.rs`; what proves that an entry is ours is `seal.rs`'s affair,
//! how a response's fields are written `set_cookie.rs`'s.

use std::{
    fmt, iter,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, header::COOKIE};

use super::{
    Session, Stickiness,
    cache::{Cache, Issued, Opened},
    seal::{Entry, Seal, Unsealed},
    set_cookie::{End, Fields, Form},
};
use crate::{
    head::{Head, Peer},
    id::{GroupName, TargetId},
};

/// The most groups that one client's cookie remembers a target of. With ids of the greatest length
/// they fit into what a client keeps of a cookie, and a forger gets no more openings a key than this.
pub(super) const ENTRIES_MAX: usize = 8;

/// The longest value that is read; clients keep 4096 bytes of a cookie, its name included
/// (RFC 6265 §6.1).
const VALUE_MAX: usize = 4096;

/// How much of a request's Cookie fields is read, in bytes: twice the longest cookie, or one and its
/// twin.
const SCAN_MAX: usize = 8192;

/// The longest session; ALB's.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest time between two seals of one target.
const TICK_MAX: Duration = Duration::from_secs(60);

/// How many ticks a session lasts at least: with the one begun it is longer by a fiftieth at most.
const TICKS_MIN: u32 = 50;

/// The load-balancer cookie: remembers each client's target in the client's cookie.
///
/// What the cookie says is sealed (AES-256-GCM): a client can neither read nor change it. It has one
/// entry for each group the client came to, eight at most: the newest first, the oldest is dropped.
/// Groups may share one cookie, as [clones](Clone) or made of the same name and keys. Two first
/// requests to two groups at the same moment write two cookies, of which the client keeps the
/// later; the other group's session then begins with its next request.
///
/// A session lasts for the duration set, and up to a fiftieth of it or a minute longer, from the last
/// response on: responses write the cookie anew, but not more often than that. When it ends is
/// sealed too; the cookie's Max-Age only lets the client forget in time.
///
/// Its twin, if there is [to be one](super::CookieBuilder::cors), has the same value. Of a request
/// with both, the twin counts.
///
/// Of a request, the first 8 KiB of all Cookie fields are read. A cookie whose name comes there twice
/// or whose value is longer than 4 KiB is ignored, and so is every entry that is forged, expired,
/// sealed with another key, for another cookie or for another group.
///
/// Targets with ids longer than 256 bytes are not remembered, and none while the operating system
/// gives no random numbers; a warning says so once.
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
/// use http::{HeaderMap, Request};
/// use pointsman::{
///     head::Head,
///     stickiness::{CookieKey, LoadBalancerCookie, Session, Stickiness},
/// };
///
/// let cookie = LoadBalancerCookie::builder(CookieKey::generate()?).build()?;
/// let (group, target, now) = ("web".into(), "10.0.0.1:80".into(), SystemTime::now());
///
/// let mut response = HeaderMap::new();
/// cookie.remember(&group, &Session::default(), &target, &mut response, now);
/// let set = response["set-cookie"].to_str()?;
/// assert!(set.ends_with("; Max-Age=86460; Path=/; HttpOnly"));
///
/// let (pair, _) = set.split_once(';').unwrap();
/// let request = Request::get("/").header("cookie", pair).body(())?;
/// let session = cookie.recall(&group, &Head::of(&request, None), now);
/// assert_eq!(session.target(), Some(&target));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LoadBalancerCookie(Arc<Inner>);

struct Inner {
    form: Form,
    seal: Seal,
    duration: Duration,
    tick: Duration,
    issued: Cache<Issued>,
    opened: Cache<Opened>,
    warned_of_entropy: AtomicBool,
    warned_of_target: AtomicBool,
}

impl LoadBalancerCookie {
    /// Makes a cookie of settings that were checked.
    pub(super) fn new(form: Form, seal: Seal, duration: Duration) -> Self {
        Self(Arc::new(Inner {
            form,
            seal,
            duration,
            tick: (duration / TICKS_MIN).min(TICK_MAX),
            issued: Cache::default(),
            opened: Cache::default(),
            warned_of_entropy: AtomicBool::new(false),
            warned_of_target: AtomicBool::new(false),
        }))
    }
}

impl Stickiness for LoadBalancerCookie {
    fn recall(&self, group: &GroupName, head: &Head<'_>, now: SystemTime) -> Session {
        let https = head.peer.map(Peer::protocol) == Some("https");
        let value = find(head.headers, &self.0.form).unwrap_or_default();
        // Most clients have come to this one group, and lately.
        if let Some(session) = self.reopen(group, value, now) {
            return Session { https, ..session };
        }
        let mut session = None;
        let mut memo = String::new();
        for text in value.split(|&byte| byte == b'.').take(ENTRIES_MAX) {
            let Some(entry) = Entry::parse(text) else { continue };
            if entry.is_of(group) {
                // What does not open, has expired or comes after one that opened, is dropped.
                if session.is_none() {
                    session = self.open(group, &entry, text, now);
                }
            } else if let Ok(text) = str::from_utf8(text) {
                push(&mut memo, text);
            }
        }
        Session { https, memo, ..session.unwrap_or_default() }
    }

    fn remember(
        &self,
        group: &GroupName,
        session: &Session,
        target: &TargetId,
        headers: &mut HeaderMap,
        now: SystemTime,
    ) {
        let inner = &*self.0;
        let until = inner.until(now);
        let written = session.until().is_some_and(|written| since_epoch(written) == until);
        if written && session.target() == Some(target) {
            return;
        }
        let Some(issued) = inner.issue(group, target, until) else { return };
        match session.memo() {
            "" => issued.fields.append(headers, session.https),
            memo => {
                let value = format!("{}.{memo}", issued.entry);
                // Another group's sessions may last longer than this one's; all end as they are
                // sealed to.
                if let Some(fields) = inner.fields(&value, DURATION_MAX + TICK_MAX, until) {
                    fields.append(headers, session.https);
                }
            }
        }
    }
}

impl LoadBalancerCookie {
    fn open(
        &self,
        group: &GroupName,
        entry: &Entry,
        text: &[u8],
        now: SystemTime,
    ) -> Option<Session> {
        let inner = &*self.0;
        let (target, until) = inner.seal.open(group, entry)?;
        // The others are written anew by the response, so that they hardly come again.
        if until == inner.until(now) {
            let (group, target) = (group.clone(), target.clone());
            inner.opened.keep(Arc::new(Opened { group, text: text.into(), target, until }));
        }
        session(target, until, now)
    }

    /// Reads an entry that was opened lately.
    fn reopen(&self, group: &GroupName, text: &[u8], now: SystemTime) -> Option<Session> {
        let opened = self.0.opened.find(group, text)?;
        session(opened.target.clone(), opened.until, now)
    }
}

/// Makes a session that lasts until a time since the epoch, if that has not come.
fn session(target: TargetId, until: Duration, now: SystemTime) -> Option<Session> {
    let until = UNIX_EPOCH.checked_add(until)?;
    (now < until).then(|| Session::new(target, until))
}

impl Inner {
    /// Returns when the tick that has begun will end, since 1970, in whole milliseconds.
    fn end_of_tick(&self, now: SystemTime) -> Duration {
        let tick = self.tick.as_millis().max(1) as u64;
        let begun = since_epoch(now).as_millis() as u64 / tick;
        Duration::from_millis(begun.saturating_add(1).saturating_mul(tick))
    }

    /// Until when what is written now lasts, since the epoch.
    fn until(&self, now: SystemTime) -> Duration {
        self.end_of_tick(now).saturating_add(self.duration)
    }

    /// Returns a target's entry, sealed now or earlier in the tick.
    fn issue(&self, group: &GroupName, target: &TargetId, until: Duration) -> Option<Arc<Issued>> {
        if let Some(issued) = self.issued.find(group, target, until) {
            return Some(issued);
        }
        let entry = match self.seal.seal(group, target, until) {
            Ok(entry) => entry,
            Err(error) => {
                self.warn(group, &error);
                return None;
            }
        };
        let fields = self.fields(&entry, self.duration + self.tick, until)?;
        let (group, target) = (group.clone(), target.clone());
        let issued = Arc::new(Issued { group, target, until, entry, fields });
        self.issued.keep(Arc::clone(&issued));
        Some(issued)
    }

    /// Writes a value of the tick whose sessions last until a time.
    fn fields(&self, value: &str, age: Duration, until: Duration) -> Option<Fields> {
        // ALB's moment, whatever the duration: seven days from the end of the tick on.
        let moment = until.saturating_sub(self.duration).saturating_add(DURATION_MAX);
        self.form.fields(value, End { age, moment })
    }

    /// Warns once of each cause, since it might come with every response.
    fn warn(&self, group: &GroupName, error: &Unsealed) {
        let warned = match error {
            Unsealed::NoEntropy(_) => &self.warned_of_entropy,
            Unsealed::LongTargetId(_) => &self.warned_of_target,
        };
        if !warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(%group, %error, "sessions are not kept");
        }
    }
}

impl fmt::Debug for LoadBalancerCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancerCookie")
            .field("name", &self.0.form.name)
            .field("duration", &self.0.duration)
            .finish_non_exhaustive()
    }
}

/// What came under one name.
#[derive(Clone, Copy)]
enum Found<'a> {
    Nothing,
    Once(&'a [u8]),
    Again,
}

impl<'a> Found<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Nothing => Self::Once(value),
            // Whose is it? Another host of the domain may have set one of the two.
            Self::Once(_) | Self::Again => Self::Again,
        };
    }

    fn certain(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) if value.len() <= VALUE_MAX => Some(value),
            _ => None,
        }
    }
}

/// Finds the value of the cookie, unless that is not certain; that of its twin, if both came.
///
/// A cookie that the bound cuts is read up to there; the entries before it prove themselves.
fn find<'a>(headers: &'a HeaderMap, form: &Form) -> Option<&'a [u8]> {
    let mut left = SCAN_MAX;
    let (mut own, mut twin) = (Found::Nothing, Found::Nothing);
    for field in headers.get_all(COOKIE) {
        let field = field.as_bytes();
        let field = field.get(..left).unwrap_or(field);
        left -= field.len();
        for pair in pairs(field).map(<[u8]>::trim_ascii) {
            let value_of = |name: &str| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
            if let Some(value) = value_of(&form.name) {
                own.add(value);
            } else if let Some(value) = form.twin_name().and_then(value_of) {
                twin.add(value);
            }
        }
    }
    twin.certain().or(own.certain())
}

/// Splits at semicolons.
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    iter::from_fn(move || {
        let text = rest?;
        let (pair, after) = match semicolon(text) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)),
            None => (text, None),
        };
        rest = after;
        Some(pair)
    })
}

/// Finds the first semicolon: values are long, so by sixteen bytes at a time, which the compiler compares
/// at once.
fn semicolon(text: &[u8]) -> Option<usize> {
    let is = |byte: &u8| *byte == b';';
    let chunks = text.chunks_exact(16);
    let without =
        chunks.take_while(|chunk| !chunk.iter().fold(false, |found, byte| found | is(byte)));
    let passed = without.count() * 16;
    Some(passed + text.get(passed..)?.iter().position(is)?)
}

fn push(memo: &mut String, text: &str) {
    if !memo.is_empty() {
        memo.push('.');
    }
    memo.push_str(text);
}

/// Returns the time since 1970, in whole milliseconds; nothing for a clock that stands before that.
fn since_epoch(time: SystemTime) -> Duration {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_are_what_stands_between_semicolons(
            field in proptest::collection::vec(prop_oneof![3 => Just(b'a'), 1 => Just(b';')], 0..80),
            far in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            for field in [&field, &far] {
                let expected = field.split(|&byte| byte == b';').collect::<Vec<_>>();
                prop_assert_eq!(pairs(field).collect::<Vec<_>>(), expected);
            }
        }
    }
}
