//! Requests that two servers in a row might read in two ways: how bad each is, and why.
//!
//! Classes and reasons are those of AWS's desync guardian, over what an HTTP parser lets through. What
//! becomes of a class in which mode is decided here; who refuses and who closes is `screen/`'s and the
//! floors' affair. Which forms never get this far is a table in [`DesyncMode`].

use http::{Method, Version};

use crate::field;

/// What becomes of requests that two servers in a row might read in two ways; ALB's
/// `routing.http.desync_mitigation_mode`.
///
/// | class | `Monitor` | `Defensive` | `Strictest` |
/// |---|---|---|---|
/// | compliant | passes | passes | passes |
/// | acceptable | passes | passes | 400 |
/// | ambiguous | passes | passes; both connections are closed after it | 400 |
/// | severe | passes | 400 | 400 |
///
/// Whatever is not compliant is told of in one `tracing` event with its `classification` and
/// `classification_reason`, in every mode. A refusal closes the client's connection. Requests of HTTP/2
/// have a framing of their own, and are compliant.
///
/// A DELETE with a body is compliant, and passes. But nobody defines what that body is (RFC 9110 §9.3.5),
/// and a server that leaves it on its connection reads it as the next request: in all modes but `Monitor`
/// both connections are closed after it.
///
/// # Classes
///
/// | reason | class | what has it |
/// |---|---|---|
/// | `GetHeadZeroContentLength` | acceptable | GET or HEAD with a Content-Length of 0 |
/// | `NonCompliantVersion` | acceptable | HTTP/0.9 |
/// | `SuspiciousHeader` | ambiguous | a name that reads Content-Length or Transfer-Encoding if all but letters and digits is left out |
/// | `UndefinedContentLengthSemantics` | ambiguous | GET or HEAD with a Content-Length above 0; any in HTTP/0.9 |
/// | `UndefinedTransferEncodingSemantics` | ambiguous | GET or HEAD with a Transfer-Encoding; any below HTTP/1.1 |
/// | `DuplicateContentLength` | ambiguous | two equal lengths |
/// | `BothTeClPresent` | ambiguous | Content-Length and Transfer-Encoding |
/// | `SuspiciousTeClPresent` | severe | the same, one of them only under such a name |
/// | `BadContentLength` | severe | a length that is no number below 2^64 |
/// | `MultipleContentLength` | severe | two lengths that differ |
/// | `BadTransferEncoding` | severe | a coding other than chunked, compress, deflate, gzip and identity |
/// | `MultipleTransferEncodingChunked` | severe | chunked right after chunked |
///
/// A field whose name is Content-Length or Transfer-Encoding with `_` or `.` in place of the hyphen
/// never reaches a target, and one whose coding is neither chunked nor identity is answered 501 if its
/// class lets it pass, since what was decoded of it could not be told.
///
/// # What never gets this far
///
/// hyper's server reads the message first, and this is not a second parser in front of it. In every mode
/// it answers by itself, or takes what could be read in two ways in the one way it knows; in no case
/// does a target get the form that the client sent, since its message is written anew with one framing
/// field of our own.
///
/// | form | what hyper does |
/// |---|---|
/// | a Content-Length that is no number, is above 2^64, is a list, or two that differ | 400, close |
/// | two equal lengths | one is left: compliant |
/// | Content-Length and Transfer-Encoding | the chunks count, the client's connection is closed: compliant |
/// | a Transfer-Encoding whose last coding is not chunked, or any in HTTP/1.0 | 400, close |
/// | a line folded, without a colon, without a name, with a blank before the colon or a byte in its name that none may have | 400, close |
/// | CR, NUL or another control character in a field or the request target | 400, close |
/// | a line that ends with LF alone | taken as a line |
/// | a version other than 1.0 and 1.1, a blank in the request target, no request target | 400, close |
/// | a method that is no token | 400, close |
/// | a fragment in the request target | cut off: the target gets the rest |
/// | a chunk whose size is no hexadecimal number below 2^64, one without CRLF after its size or its end, more than 16 KiB of extensions | the body breaks off: 400, close, and the target sees it end early |
/// | the first bytes of HTTP/2 | no answer, close |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DesyncMode {
    /// All pass.
    Monitor,
    /// What is severe is refused, what is ambiguous is alone on its connections.
    #[default]
    Defensive,
    /// Only what is compliant passes.
    Strictest,
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    /// It passes, and no connection it went over is used again.
    PassAlone,
    Refuse,
}

impl DesyncMode {
    pub(super) fn fate(self, class: Class) -> Fate {
        match (self, class) {
            (Self::Monitor, _) | (Self::Defensive, Class::Acceptable) => Fate::Pass,
            (Self::Defensive, Class::Ambiguous) => Fate::PassAlone,
            (Self::Defensive, Class::Severe) | (Self::Strictest, _) => Fate::Refuse,
        }
    }
}

/// How bad it is, from bad to worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Acceptable,
    Ambiguous,
    Severe,
}

impl Class {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Acceptable => "Acceptable",
            Self::Ambiguous => "Ambiguous",
            Self::Severe => "Severe",
        }
    }
}

/// Why a request is not compliant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    GetHeadZeroContentLength,
    NonCompliantVersion,
    SuspiciousHeader,
    UndefinedContentLengthSemantics,
    UndefinedTransferEncodingSemantics,
    DuplicateContentLength,
    BothTeClPresent,
    SuspiciousTeClPresent,
    BadContentLength,
    MultipleContentLength,
    BadTransferEncoding,
    MultipleTransferEncodingChunked,
}

impl Reason {
    pub(super) fn class(self) -> Class {
        match self {
            Self::GetHeadZeroContentLength | Self::NonCompliantVersion => Class::Acceptable,
            Self::SuspiciousHeader
            | Self::UndefinedContentLengthSemantics
            | Self::UndefinedTransferEncodingSemantics
            | Self::DuplicateContentLength
            | Self::BothTeClPresent => Class::Ambiguous,
            Self::SuspiciousTeClPresent
            | Self::BadContentLength
            | Self::MultipleContentLength
            | Self::BadTransferEncoding
            | Self::MultipleTransferEncodingChunked => Class::Severe,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::GetHeadZeroContentLength => "GetHeadZeroContentLength",
            Self::NonCompliantVersion => "NonCompliantVersion",
            Self::SuspiciousHeader => "SuspiciousHeader",
            Self::UndefinedContentLengthSemantics => "UndefinedContentLengthSemantics",
            Self::UndefinedTransferEncodingSemantics => "UndefinedTransferEncodingSemantics",
            Self::DuplicateContentLength => "DuplicateContentLength",
            Self::BothTeClPresent => "BothTeClPresent",
            Self::SuspiciousTeClPresent => "SuspiciousTeClPresent",
            Self::BadContentLength => "BadContentLength",
            Self::MultipleContentLength => "MultipleContentLength",
            Self::BadTransferEncoding => "BadTransferEncoding",
            Self::MultipleTransferEncodingChunked => "MultipleTransferEncodingChunked",
        }
    }
}

/// What the fields of a request say about where its body ends, gathered one by one.
#[derive(Debug, Default)]
pub(super) struct Framing {
    length: Length,
    coding: Coding,
    suspicious: bool,
}

/// How often a field was there under its own name, and under one that resembles it.
#[derive(Debug, Default)]
struct Seen {
    plain: bool,
    disguised: bool,
}

impl Seen {
    fn note(&mut self, disguised: bool) {
        self.plain |= !disguised;
        self.disguised |= disguised;
    }

    fn any(&self) -> bool {
        self.plain || self.disguised
    }

    fn only_disguised(&self) -> bool {
        self.disguised && !self.plain
    }
}

#[derive(Debug, Default)]
struct Length {
    seen: Seen,
    first: Option<u64>,
    wrong: Option<Reason>,
}

#[derive(Debug, Default)]
struct Coding {
    seen: Seen,
    wrong: Option<Reason>,
    after_chunked: bool,
    /// Whether there is one that cannot be passed on.
    foreign: bool,
}

impl Framing {
    /// Tells whether a name may be, or resemble, one that frames a body. Nearly all are sorted out by
    /// their first four letters: those of content and transfer.
    #[inline]
    pub(super) fn may_frame(name: &str) -> bool {
        match name.as_bytes() {
            [b'a'..=b'z', b'a'..=b'z', b'a'..=b'z', b'a'..=b'z', ..] => {
                name.starts_with("cont") || name.starts_with("tran")
            }
            _ => true,
        }
    }

    /// Looks at a field whose name may frame a body; tells whether no target may get it.
    pub(super) fn note(&mut self, name: &str, value: &[u8]) -> bool {
        match name {
            "content-length" => self.length.note(value, false),
            "transfer-encoding" => self.coding.note(value, false),
            _ if spells(name, b"contentlength") => {
                self.suspicious = true;
                self.length.note(value, true);
                return field::reads_as(name, "content-length");
            }
            _ if spells(name, b"transferencoding") => {
                self.suspicious = true;
                self.coding.note(value, true);
                return field::reads_as(name, "transfer-encoding");
            }
            _ => {}
        }
        false
    }

    /// Returns what is wrong with the request, the first of the worst; `None` if it is compliant.
    pub(super) fn judge(&self, method: &Method, version: Version) -> Option<Reason> {
        if version >= Version::HTTP_2 {
            return None;
        }
        let mut worst = Worst(None);
        if self.suspicious {
            worst.note(Reason::SuspiciousHeader);
        }
        self.judge_framing(method, version, &mut worst);
        if version < Version::HTTP_10 {
            worst.note(Reason::NonCompliantVersion);
        }
        worst.0
    }

    fn judge_framing(&self, method: &Method, version: Version, worst: &mut Worst) {
        let (length, coding) = (&self.length, &self.coding);
        if coding.seen.any() && version < Version::HTTP_11 {
            return worst.note(Reason::UndefinedTransferEncodingSemantics);
        }
        if length.seen.any() && version < Version::HTTP_10 {
            return worst.note(Reason::UndefinedContentLengthSemantics);
        }
        if let Some(reason) = coding.wrong {
            worst.note(reason);
        }
        if let Some(reason) = length.wrong {
            worst.note(reason);
        }
        if *method == Method::GET || *method == Method::HEAD {
            if coding.seen.any() {
                worst.note(Reason::UndefinedTransferEncodingSemantics);
            }
            match length.first {
                Some(0) => worst.note(Reason::GetHeadZeroContentLength),
                Some(_) => worst.note(Reason::UndefinedContentLengthSemantics),
                None => {}
            }
        }
        if coding.seen.any() && length.seen.any() {
            let disguised = coding.seen.only_disguised() || length.seen.only_disguised();
            worst.note(if disguised {
                Reason::SuspiciousTeClPresent
            } else {
                Reason::BothTeClPresent
            });
        }
    }

    /// Tells whether a compliant request has a body that a server may leave unread.
    pub(super) fn may_stay_unread(&self, method: &Method, version: Version) -> bool {
        let (length, coding) = (self.length.first, &self.coding.seen);
        *method == Method::DELETE
            && version < Version::HTTP_2
            && (coding.any() || length.is_some_and(|length| length > 0))
    }

    /// Tells whether the body has a coding that the target would have to be told of, which we cannot.
    pub(super) fn has_foreign_coding(&self) -> bool {
        self.coding.foreign
    }
}

/// The first of the worst reasons.
struct Worst(Option<Reason>);

impl Worst {
    fn note(&mut self, reason: Reason) {
        if self.0.is_none_or(|worst| worst.class() < reason.class()) {
            self.0 = Some(reason);
        }
    }
}

impl Length {
    fn note(&mut self, value: &[u8], disguised: bool) {
        self.seen.note(disguised);
        let wrong = match (number(value), self.first) {
            (None, _) => Some(Reason::BadContentLength),
            (Some(length), None) => {
                self.first = Some(length);
                None
            }
            (Some(length), Some(first)) if length == first => Some(Reason::DuplicateContentLength),
            (Some(_), Some(_)) => Some(Reason::MultipleContentLength),
        };
        if let Some(wrong) = wrong {
            let mut worst = Worst(self.wrong);
            worst.note(wrong);
            self.wrong = worst.0;
        }
    }
}

impl Coding {
    fn note(&mut self, value: &[u8], disguised: bool) {
        self.seen.note(disguised);
        // Unlike in other lists, an empty element counts: it is no coding.
        for coding in value.split(|&byte| byte == b',') {
            let name = coding.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let chunked = is("chunked");
            let ours = chunked || is("identity");
            self.foreign |= !ours && !disguised;
            let wrong = if chunked && self.after_chunked {
                Some(Reason::MultipleTransferEncodingChunked)
            } else if !ours && !["gzip", "deflate", "compress"].into_iter().any(is) {
                Some(Reason::BadTransferEncoding)
            } else {
                None
            };
            self.wrong = self.wrong.or(wrong);
            self.after_chunked = chunked;
        }
    }
}

/// Reads digits and nothing else; nothing at all is 0, as the guardian has it.
fn number(value: &[u8]) -> Option<u64> {
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Tells whether letters and digits of a name are these.
fn spells(name: &str, letters: &[u8]) -> bool {
    name.bytes().filter(u8::is_ascii_alphanumeric).eq(letters.iter().copied())
}

#[cfg(test)]
#[path = "desync_tests.rs"]
mod tests;
