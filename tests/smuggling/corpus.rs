//! Reads the messages of the corpus and what must become of each.
//!
//! A message begins with its name; what becomes of it and its bytes follow:
//!
//! ```text
//! ## two-lengths              its name
//! class: duplicate CL         what kind of attack it is
//! verdict: refused 400        what must become of it, see `Verdict`
//! seen: POST /a hello         what the target reads: method, target, body; one line a request
//! with: host: b               a field that the first of those has, exactly once; `{port}` in its
//!                             value is the port that the client connected to
//! without: upgrade            a field that it has not
//! | POST / HTTP/1.1           bytes, after which comes CRLF
//! : hello\n                   bytes, after which comes nothing
//! ```
//!
//! In bytes and bodies `\r`, `\n`, `\t`, `\0`, `\xff` and `\\` stand for one byte, and `{3*ab}` for
//! `ababab`. Other characters are themselves, in UTF-8. A line that begins with `#` says why.

use std::collections::BTreeSet;

/// All files, each with its name.
const FILES: [(&str, &str); 8] = [
    ("lengths", include_str!("corpus/lengths.txt")),
    ("codings", include_str!("corpus/codings.txt")),
    ("chunks", include_str!("corpus/chunks.txt")),
    ("lines", include_str!("corpus/lines.txt")),
    ("targets", include_str!("corpus/targets.txt")),
    ("fields", include_str!("corpus/fields.txt")),
    ("spoofed", include_str!("corpus/spoofed.txt")),
    ("meetings", include_str!("corpus/meetings.txt")),
];

/// Each has a message at least, and no message another.
const CLASSES: [&str; 53] = [
    "0.CL",
    "CL.0",
    "CL.TE",
    "CONNECT",
    "Expect",
    "Host",
    "Max-Forwards",
    "NUL",
    "TE in HTTP/1.0",
    "TE.0",
    "TE.CL",
    "TE.TE",
    "TRACE",
    "absolute-form",
    "asterisk-form",
    "authority-form",
    "bare CR",
    "bare LF",
    "bombs",
    "chunk ends",
    "chunk extensions",
    "chunk size",
    "control characters",
    "disguised CL",
    "disguised TE",
    "duplicate CL",
    "empty name",
    "foreign coding",
    "h2c",
    "harmless",
    "hidden answer",
    "hidden request",
    "hop-by-hop",
    "hop-by-hop framing",
    "non-token name",
    "obs-fold",
    "odd CL",
    "other upgrades",
    "overflow of CL",
    "pipelining",
    "request line",
    "request splitting",
    "request target",
    "response splitting",
    "space before colon",
    "spoofed address",
    "spoofed alias",
    "spoofed protocol",
    "spoofed proxy",
    "trailers",
    "userinfo",
    "version",
    "websocket",
];

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) verdict: Verdict,
    pub(crate) seen: Vec<Seen>,
    pub(crate) with: Vec<(String, String)>,
    pub(crate) without: Vec<String>,
    pub(crate) bytes: Vec<u8>,
}

/// A request as the target must read it.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

/// What becomes of a message, and of the connections it went over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// `refused STATUS`, or `refused` by closing without a word: no target hears of it, and the
    /// client's connection is closed.
    Refused(Option<u16>),
    /// `broken STATUS`, or `broken` without a word: its body is found to be wrong when the target may
    /// have had its head; what the target has is no whole request, and both connections are closed.
    Broken(Option<u16>),
    /// `answered STATUS`: no target hears of it, and the connection is kept.
    Answered(u16),
    /// `forwarded`: it is answered, and both connections are kept.
    Forwarded,
    /// `forwarded, client closed`: it is answered, and the client's connection is closed.
    ClientClosed,
    /// `forwarded, closed`: it is answered, and both connections are closed.
    Closed,
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut names = BTreeSet::new();
    for (file, text) in FILES {
        for block in text.split("\n## ").skip(1) {
            let case = case(block).unwrap_or_else(|wrong| panic!("{file}: {wrong}: {block}"));
            assert!(names.insert(case.name.clone()), "{file}: a second {}", case.name);
            cases.push(case);
        }
    }
    cases
}

fn case(block: &str) -> Result<Case, String> {
    let Keys { name, keys, bytes } = Keys::read(block)?;
    let (mut class, mut verdict) = (None, None);
    let (mut seen, mut with, mut without) = (vec![], vec![], vec![]);
    for (key, value) in keys {
        match &*key {
            "class" => class = Some(value),
            "verdict" => verdict = Some(self::verdict(&value)?),
            "seen" => {
                let mut parts = value.splitn(3, ' ').map(str::to_owned);
                let mut part = || parts.next().unwrap_or_default();
                let (method, target) = (part(), part());
                seen.push(Seen { method, target, body: unescape(&part()) });
            }
            "with" => {
                let (name, value) = value.split_once(": ").unwrap_or((&value, ""));
                with.push((name.to_owned(), value.to_owned()));
            }
            "without" => without.extend(value.split(", ").map(str::to_owned)),
            _ => return Err(format!("what is {key:?}?")),
        }
    }
    let verdict = verdict.ok_or("no verdict")?;
    let forwarded = matches!(verdict, Verdict::Forwarded | Verdict::ClientClosed | Verdict::Closed);
    if forwarded == seen.is_empty() {
        return Err("the verdict and what is seen are at odds".to_owned());
    }
    Ok(Case { name, class: class.ok_or("no class")?, verdict, seen, with, without, bytes })
}

/// A message of any corpus.
pub(crate) struct Keys {
    pub(crate) name: String,
    pub(crate) keys: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

impl Keys {
    pub(crate) fn read(block: &str) -> Result<Self, String> {
        let mut lines = block.lines();
        let name = lines.next().unwrap_or_default().to_owned();
        let (mut keys, mut bytes) = (vec![], vec![]);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line == "|" {
                bytes.extend(b"\r\n");
            } else if let Some(line) = line.strip_prefix("| ") {
                bytes.extend(unescape(line));
                bytes.extend(b"\r\n");
            } else if let Some(line) = line.strip_prefix(": ") {
                bytes.extend(unescape(line));
            } else if let Some((key, value)) = line.split_once(": ") {
                keys.push((key.to_owned(), value.to_owned()));
            } else {
                return Err(format!("what is {line:?}?"));
            }
        }
        Ok(Self { name, keys, bytes })
    }
}

fn verdict(text: &str) -> Result<Verdict, String> {
    let (word, rest) = text.split_once([' ', ',']).unwrap_or((text, ""));
    let status = || match rest {
        "" => Ok(None),
        status => status.parse().map(Some).map_err(|_| format!("what is {status:?}?")),
    };
    match (word, rest.trim()) {
        ("refused", _) => Ok(Verdict::Refused(status()?)),
        ("broken", _) => Ok(Verdict::Broken(status()?)),
        ("answered", _) => Ok(Verdict::Answered(status()?.ok_or("no status")?)),
        ("forwarded", "") => Ok(Verdict::Forwarded),
        ("forwarded", "client closed") => Ok(Verdict::ClientClosed),
        ("forwarded", "closed") => Ok(Verdict::Closed),
        _ => Err(format!("what is {text:?}?")),
    }
}

pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '{']) {
        bytes.extend(rest[..at].bytes());
        rest = &rest[at..];
        if let Some((count, repeated)) = rest[1..].split_once('*')
            && rest.starts_with('{')
            && let Ok(count) = count.parse()
        {
            let (repeated, after) = repeated.split_once('}').expect("it ends");
            bytes.extend(unescape(repeated).repeat(count));
            rest = after;
            continue;
        }
        let (byte, length) = match rest.as_bytes() {
            [b'{', ..] => (b'{', 1),
            [_, b'r', ..] => (b'\r', 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'0', ..] => (0, 2),
            [_, b'\\', ..] => (b'\\', 2),
            [_, b'x', ..] => (u8::from_str_radix(&rest[2..4], 16).expect("two digits"), 4),
            _ => panic!("what is {rest:?}?"),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes.extend(rest.bytes());
    bytes
}

#[test]
fn bytes_are_written_as_said() {
    let check = |text: &str, bytes: &[u8]| assert_eq!(unescape(text), bytes, "{text:?}");
    check("", b"");
    check(r"a\r\n\t\0\\\xfF", b"a\r\n\t\0\\\xff");
    check("{3*ab}c{d}", b"abababc{d}");
    check(r"{2*\r\n}", b"\r\n\r\n");
    check("\u{17f}", b"\xc5\xbf");
}

#[test]
fn the_corpus_has_every_class() {
    let cases = cases();
    let classes = cases.iter().map(|case| &*case.class).collect::<BTreeSet<_>>();
    println!("{} messages of {} classes", cases.len(), classes.len());
    assert_eq!(classes, BTreeSet::from(CLASSES));
    assert!(cases.len() >= 150, "{}", cases.len());
}
