//! A reader of HTTP/1.1 messages that takes what RFC 9112 lets a sender send and nothing else.
//!
//! It shares no code with what it judges, and is as plain as the grammar. Wherever the RFC lets a
//! recipient be lenient this one is not: a message that it takes can be read in one way only. It leaves
//! alone what fields mean, but for those that frame a message.

use std::fmt;

/// A request or an answer, as its bytes say.
#[derive(Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) start: Start,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// How the end of the body was told.
    pub(crate) framing: Framing,
}

/// Names in small letters, in the order in which they came.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Start {
    Request { method: String, target: String },
    Answer { minor: u8, status: u16 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    /// The end of the connection, which only an answer may have.
    Close,
}

impl Message {
    /// Returns the one value of a field, if it is there; two are one too many.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let found = values(&self.fields, name);
        assert!(found.len() < 2, "{name} twice in {self:?}");
        found.first().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    pub(crate) fn request(&self) -> (&str, &str) {
        match &self.start {
            Start::Request { method, target } => (method, target),
            Start::Answer { .. } => panic!("an answer: {self:?}"),
        }
    }

    pub(crate) fn status(&self) -> u16 {
        match self.start {
            Start::Answer { status, .. } => status,
            Start::Request { .. } => panic!("a request: {self:?}"),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {{", self.start)?;
        for (name, value) in self.fields.iter().chain(&self.trailers) {
            write!(f, " {name}: {};", beginning(value))?;
        }
        write!(f, " }} {:?} \"{}\"", self.framing, beginning(&self.body))
    }
}

fn beginning(bytes: &[u8]) -> String {
    let (beginning, rest) = bytes.split_at(bytes.len().min(200));
    let more = if rest.is_empty() { "" } else { " and more" };
    format!("{}{more}", beginning.escape_ascii())
}

/// What is wrong with a message.
pub(crate) type Wrong = String;

/// A message and how many bytes it has; `None` if there are not enough yet.
pub(crate) type Read = Result<Option<(Message, usize)>, Wrong>;

/// Reads a request at the beginning of some bytes.
pub(crate) fn request(bytes: &[u8]) -> Read {
    let mut reader = Reader { bytes, at: 0 };
    let Some(line) = reader.line()? else { return Ok(None) };
    let start = request_line(&line)?;
    let Some(fields) = reader.fields()? else { return Ok(None) };
    let hosts = values(&fields, "host");
    if hosts.len() != 1 || hosts.iter().any(|host| host.is_empty()) {
        return Err(format!("{} hosts", hosts.len()));
    }
    let framing = framing(&fields)?.unwrap_or(Framing::None);
    reader.body(start, fields, framing)
}

/// Reads the answer to a request of this method at the beginning of some bytes, after which the
/// connection may have ended.
pub(crate) fn answer(bytes: &[u8], method: &str, ended: bool) -> Read {
    let mut reader = Reader { bytes, at: 0 };
    let Some(line) = reader.line()? else { return Ok(None) };
    let start = status_line(&line)?;
    let Some(fields) = reader.fields()? else { return Ok(None) };
    let Start::Answer { status, .. } = start else { return Err("a request".to_owned()) };
    let told = framing(&fields)?;
    let framing = match (status, told) {
        (100..200 | 204, Some(_)) => return Err(format!("a framing of {status}")),
        (100..200 | 204 | 304, _) => Framing::None,
        _ if method == "HEAD" => Framing::None,
        (_, told) => told.unwrap_or(Framing::Close),
    };
    if framing == Framing::Close && !ended {
        return Ok(None);
    }
    reader.body(start, fields, framing)
}

fn values<'a>(fields: &'a Fields, name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|field| field.0 == name).map(|field| &*field.1).collect()
}

fn request_line(line: &[u8]) -> Result<Start, Wrong> {
    let wrong = || format!("request line {:?}", line.escape_ascii().to_string());
    let parts = line.split(|&byte| byte == b' ').collect::<Vec<_>>();
    let [method, target, b"HTTP/1.1"] = parts[..] else { return Err(wrong()) };
    // Bytes above ASCII are no part of a target, but are passed as they come, as all others do.
    let is_target = |byte: &u8| matches!(byte, 0x21..=0x7e | 0x80..) && *byte != b'#';
    let form = match method {
        b"OPTIONS" => target == b"*" || target.starts_with(b"/"),
        _ => target.starts_with(b"/"),
    };
    if !is_token(method) || !target.iter().all(is_target) || !form {
        return Err(wrong());
    }
    Ok(Start::Request {
        method: method.iter().copied().map(char::from).collect(),
        target: target.iter().map(readable).collect(),
    })
}

fn readable(byte: &u8) -> String {
    if byte.is_ascii() { char::from(*byte).to_string() } else { format!("\\x{byte:x}") }
}

fn status_line(line: &[u8]) -> Result<Start, Wrong> {
    let wrong = || format!("status line {:?}", line.escape_ascii().to_string());
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (Some(version), Some(status), Some(reason)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return Err(wrong()),
    };
    match status {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] if reason.iter().all(is_value) => {}
        _ => return Err(wrong()),
    }
    let status = status.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Ok(Start::Answer { minor, status })
}

/// How fields say the body ends. What only resembles a field that says so must not be there, since
/// somebody might take it for one.
fn framing(fields: &Fields) -> Result<Option<Framing>, Wrong> {
    for (name, _) in fields {
        let letters = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        let framing = ["contentlength", "transferencoding"].contains(&&*letters);
        if framing && !["content-length", "transfer-encoding"].contains(&&**name) {
            return Err(format!("a disguised {name:?}"));
        }
    }
    match (&values(fields, "content-length")[..], &values(fields, "transfer-encoding")[..]) {
        ([], []) => Ok(None),
        ([], [b"chunked"]) => Ok(Some(Framing::Chunked)),
        ([length], []) => {
            let text = std::str::from_utf8(length).unwrap_or("none");
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse() {
                Ok(length) if digits => Ok(Some(Framing::Length(length))),
                _ => Err(format!("content-length {text:?}")),
            }
        }
        (lengths, codings) => Err(format!("lengths {lengths:?}, codings {codings:?}")),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Reads a line, which CRLF ends and which has no other CR, LF or NUL.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Wrong> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0));
        match end.map(|end| (end, &rest[end..])) {
            None | Some((_, b"\r")) => Ok(None),
            Some((end, [b'\r', b'\n', ..])) => {
                let line = rest[..end].to_vec();
                self.at += end + 2;
                Ok(Some(line))
            }
            Some((end, _)) => {
                let beginning = rest[..(end + 20).min(rest.len())].escape_ascii();
                Err(format!("line {:?}", beginning.to_string()))
            }
        }
    }

    /// Reads fields and the empty line after them.
    fn fields(&mut self) -> Result<Option<Fields>, Wrong> {
        let mut fields = Vec::new();
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if line.is_empty() {
                return Ok(Some(fields));
            }
            let wrong = || format!("field {:?}", line.escape_ascii().to_string());
            let colon = line.iter().position(|&byte| byte == b':').ok_or_else(wrong)?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if !is_token(name) || !value.iter().all(is_value) {
                return Err(wrong());
            }
            let name = name.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect();
            fields.push((name, value.to_vec()));
        }
    }

    fn body(mut self, start: Start, fields: Fields, framing: Framing) -> Read {
        let mut trailers = Vec::new();
        let body = match framing {
            Framing::None => Some(Vec::new()),
            Framing::Length(length) => self.take(length),
            Framing::Close => self.take(self.rest().len()),
            Framing::Chunked => match self.chunks()? {
                Some((body, after)) => {
                    trailers = after;
                    Some(body)
                }
                None => None,
            },
        };
        let message = body.map(|body| Message { start, fields, body, trailers, framing });
        Ok(message.map(|message| (message, self.at)))
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let taken = self.rest().get(..length)?.to_vec();
        self.at += length;
        Some(taken)
    }

    /// Reads chunks without extensions, and trailers that may be such.
    fn chunks(&mut self) -> Result<Option<(Vec<u8>, Fields)>, Wrong> {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            let digits = (1..=16).contains(&line.len()) && line.iter().all(u8::is_ascii_hexdigit);
            let text = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(&text, 16).ok().filter(|_| digits);
            let size = size.ok_or_else(|| format!("chunk size {text:?}"))?;
            if size == 0 {
                break;
            }
            let Some(chunk) = self.take(size) else { return Ok(None) };
            body.extend(chunk);
            match self.take(2) {
                Some(end) if end == b"\r\n" => {}
                Some(end) => return Err(format!("a chunk ends with {end:?}")),
                None => return Ok(None),
            }
        }
        let Some(trailers) = self.fields()? else { return Ok(None) };
        let forbidden = |name: &str| {
            let own = ["host", "te", "trailer", "connection", "authorization", "cookie", "expect"];
            own.contains(&name) || name.starts_with("x-forwarded-") || name.starts_with("x-amzn-")
        };
        if framing(&trailers)?.is_some() || trailers.iter().any(|field| forbidden(&field.0)) {
            return Err(format!("trailers {trailers:?}"));
        }
        Ok(Some((body, trailers)))
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let is = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is)
}

fn is_value(byte: &u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

// The reader itself.

#[test]
fn the_strict_reader_takes_what_can_be_read_in_one_way() {
    let check = |text: &str, body: &str| {
        let (message, length) = request(text.as_bytes()).unwrap().unwrap();
        assert_eq!((&*message.body, length), (body.as_bytes(), text.len()), "{text:?}");
        for end in 0..text.len() {
            assert_eq!(request(&text.as_bytes()[..end]), Ok(None), "{end} of {text:?}");
        }
    };
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "");
    check("OPTIONS * HTTP/1.1\r\nhost:a\r\nx-a:\r\n\r\n", "");
    check("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", "hello");
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    check(&format!("{chunked}5\r\nhello\r\nB\r\n, and bye..\r\n0\r\n\r\n"), "hello, and bye..");
    check(&format!("{chunked}0\r\nx-sum: 42\r\n\r\n"), "");
}

#[test]
fn the_strict_reader_takes_nothing_else() {
    let check = |text: &str| assert!(request(text.as_bytes()).is_err(), "{text:?}");
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.0",
        "GET / http/1.1",
        "GET\t/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET http://a/ HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /",
        "",
    ] {
        check(&format!("{line}\r\nhost: a\r\n\r\n"));
    }
    for fields in [
        "",
        "host:\r\n",
        "host: a\r\nhost: a\r\n",
        "host : a\r\n",
        "host: a\nx: b\r\n",
        "host: a\r\n b\r\n",
        "host: a\r\n: b\r\n",
        "host: a\r\nb\r\n",
        "host: a\r\nx: \0\r\n",
        "host: a\r\nx: b\rc\r\n",
        "host: a\r\nx\u{e9}: b\r\n",
        "host: a\r\ncontent_length: 0\r\n",
        "host: a\r\ntransfer.encoding: chunked\r\n",
        "host: a\r\ncontent-length: +0\r\n",
        "host: a\r\ncontent-length: 0x0\r\n",
        "host: a\r\ncontent-length:\r\n",
        "host: a\r\ncontent-length: 99999999999999999999\r\n",
        "host: a\r\ncontent-length: 0\r\ncontent-length: 0\r\n",
        "host: a\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n",
        "host: a\r\ntransfer-encoding: Chunked\r\n",
        "host: a\r\ntransfer-encoding: gzip, chunked\r\n",
    ] {
        check(&format!("GET / HTTP/1.1\r\n{fields}\r\n0\r\n\r\n"));
    }
    for chunks in [
        "5 \r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "0\r\ncontent-length: 5\r\n\r\n",
        "0\r\nx-forwarded-for: a\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        check(&format!("{head}{chunks}"));
    }
}

#[test]
fn the_strict_reader_knows_which_answers_have_a_body() {
    let check = |method: &str, text: &str, ended: bool, expected: Option<&str>| {
        let read = answer(text.as_bytes(), method, ended).unwrap();
        let body = read.map(|read| String::from_utf8(read.0.body).unwrap());
        assert_eq!(body.as_deref(), expected, "{method} {text:?}");
    };
    let of = |status: &str, rest: &str| format!("HTTP/1.1 {status} \r\n{rest}");
    check("GET", &of("200", "content-length: 2\r\n\r\nok"), false, Some("ok"));
    check("HEAD", &of("200", "content-length: 2\r\n\r\n"), false, Some(""));
    check("GET", &of("204", "\r\n"), false, Some(""));
    check("GET", &of("304", "content-length: 2\r\n\r\n"), false, Some(""));
    check("GET", &of("200", "\r\nok"), false, None);
    check("GET", &of("200", "\r\nok"), true, Some("ok"));
    check("GET", &of("200", "content-length: 3\r\n\r\nok"), true, None);
    assert!(answer(of("204", "content-length: 2\r\n\r\n").as_bytes(), "GET", false).is_err());
    assert!(answer(b"HTTP/1.2 200 \r\n\r\n", "GET", true).is_err());
}
