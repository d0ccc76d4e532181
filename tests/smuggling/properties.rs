//! Requests and answers made at random, over sockets: each reaches the other side as one message that
//! says the same.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedReadHalf},
    runtime::{Builder, Runtime},
};

use crate::{
    strict::{self, Fields, Framing, Message},
    support::{Front, soon},
    target::{self, Answer, OF, Target},
};

/// What becomes of one case.
type Tested = Result<(), TestCaseError>;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

// What both have.

/// How a body is sent.
#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    /// Its parts with the extensions of each, and trailers that are announced.
    Chunked(Vec<(Vec<u8>, String)>, Vec<(String, Vec<u8>)>),
    /// The end of the connection.
    Close(Vec<u8>),
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Length(bytes) | Self::Close(bytes) => bytes.clone(),
            Self::Chunked(chunks, _) => {
                chunks.iter().flat_map(|(bytes, _)| bytes).copied().collect()
            }
        }
    }

    fn trailers(&self) -> &[(String, Vec<u8>)] {
        match self {
            Self::Chunked(_, trailers) => trailers,
            _ => &[],
        }
    }

    /// The fields that say how it is framed, the empty line, and it.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.extend(b"\r\n"),
            Self::Close(bytes) => {
                out.extend(b"\r\n");
                out.extend(bytes);
            }
            Self::Length(bytes) => {
                out.extend(format!("Content-Length: {}\r\n\r\n", bytes.len()).bytes());
                out.extend(bytes);
            }
            Self::Chunked(chunks, trailers) => {
                for (name, _) in trailers {
                    out.extend(format!("Trailer: {name}\r\n").bytes());
                }
                out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for (bytes, extension) in chunks {
                    out.extend(format!("{:x}{extension}\r\n", bytes.len()).bytes());
                    out.extend(bytes);
                    out.extend(b"\r\n");
                }
                out.extend(b"0\r\n");
                write_fields(trailers, out);
                out.extend(b"\r\n");
            }
        }
    }
}

fn write_fields(fields: &[(String, Vec<u8>)], out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend(format!("{name}: ").bytes());
        out.extend(value);
        out.extend(b"\r\n");
    }
}

/// Pieces of text that mean something elsewhere in a message.
const BAITS: [&str; 4] =
    ["0\r\n\r\n", "\r\n\r\n", "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"];

/// Parts of bodies.
fn bait() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        select(&BAITS[..]).prop_map(|bait| bait.as_bytes().to_vec()),
        vec(any::<u8>(), 1..20),
        (1..20_000_usize).prop_map(|length| vec![b'x'; length]),
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    vec(bait(), 0..4).prop_map(|parts| parts.concat())
}

fn chunked() -> impl Strategy<Value = Body> {
    let extension =
        prop_oneof![Just(String::new()), "(;[a-z]{1,5}(=[a-z]{1,5}|=\"[ -!#-Z^-~]{0,9}\")?){1,3}"];
    let trailers = vec(("x-t-[a-z]{1,4}", value()), 0..3);
    (vec((bait(), extension), 0..5), trailers)
        .prop_map(|(chunks, trailers)| Body::Chunked(chunks, trailers))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let inner = prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xff_u8];
    vec(inner, 0..30).prop_map(|value| value.trim_ascii().to_vec())
}

/// Fields that are of the message, some of them several times.
fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        "[xX]-[a-zA-Z]{1,2}",
        "[xX][!#$%&'*+.^_`|~0-9a-zA-Z-]{1,9}",
        "[aA]ccept",
        "[eE][tT]ag"
    ];
    vec((name, value()), 0..8).prop_map(|mut fields| {
        let reads_as_framing = |name: &str| {
            let letters = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
            ["contentlength", "transferencoding"].contains(&&*letters.to_ascii_lowercase())
        };
        fields.retain(|(name, _)| !reads_as_framing(name));
        fields
    })
}

/// Where a text is cut into parts that are sent one by one.
fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    vec(any::<prop::sample::Index>(), 0..6)
}

fn parts(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut cuts = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect::<Vec<_>>();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).filter(|p| !p.is_empty()).collect()
}

/// Values by name, in their order, but for some names.
fn by_name(fields: &[(String, Vec<u8>)], but: &[&str]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut by_name = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in fields.iter().filter(|(name, _)| !but.contains(&&**name)) {
        by_name.entry(name.to_ascii_lowercase()).or_default().push(value.clone());
    }
    by_name
}

/// Compares fields with what was sent, but for those which the other side of a proxy sees anew.
fn same_fields(found: &Fields, sent: &[(String, Vec<u8>)], anew: &[&str]) -> Tested {
    prop_assert_eq!(by_name(found, anew), by_name(sent, &[]));
    Ok(())
}

// Requests.

#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Body,
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![
        4 => select(&METHODS[..]).prop_map(str::to_owned),
        1 => "[A-Za-z!#$%&'*+.^_`|~0-9-]{1,12}",
    ];
    // What hyper takes but for a backslash.
    let target = "(/[!\"$-;=@-\\[\\]-_a-~]{0,12}){1,4}(\\?[!$-;=?-~]{0,20})?";
    let body = prop_oneof![Just(Body::None), content().prop_map(Body::Length), chunked()];
    (method, target, fields(), body).prop_map(|(method, target, fields, body)| {
        // A body of these closes its connections; the loop and the tunnel are refused.
        let body = if ["GET", "HEAD", "DELETE"].contains(&&*method) { Body::None } else { body };
        let method = if ["TRACE", "CONNECT"].contains(&&*method) { "X".to_owned() } else { method };
        Request { method, target, fields, body }
    })
}

impl Request {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(format!("{} {} HTTP/1.1\r\nHost: a\r\n", self.method, self.target).bytes());
        write_fields(&self.fields, out);
        self.body.write(out);
    }

    /// Compares it with what a target got.
    fn check(&self, found: &Message) -> Tested {
        prop_assert_eq!(found.request(), (&*self.method, &*self.target));
        prop_assert!(found.body == self.body.bytes(), "another body: {:?}", found);
        let anew = [
            "host",
            "content-length",
            "transfer-encoding",
            "trailer",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-port",
        ];
        same_fields(&found.fields, &self.fields, &anew)?;
        same_fields(&found.trailers, self.body.trailers(), &[])?;
        let framing = match &self.body {
            Body::Length(bytes) => Framing::Length(bytes.len()),
            Body::Chunked(..) => Framing::Chunked,
            _ => Framing::None,
        };
        // No body and an empty one are the same to hyper where a method has one mostly.
        prop_assert!(found.framing == framing || found.body.is_empty(), "{:?}", found);
        Ok(())
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn each_request_reaches_its_target_as_one_that_says_the_same(
        requests in vec(request(), 1..5),
        cuts in cuts(),
    ) {
        runtime().block_on(check_requests(&requests, &cuts))?;
    }
}

async fn check_requests(requests: &[Request], cuts: &[prop::sample::Index]) -> Tested {
    let target = Target::answering(target::echo).await;
    let front = Front::of([target.address()]).await;
    let mut all = Vec::new();
    for request in requests {
        request.write(&mut all);
    }
    let mut client = Client::connect(&front, parts(&all, cuts)).await;
    for request in requests {
        let answer = client.answer(&request.method).await;
        let of = format!("{} {}", request.method, request.target);
        prop_assert_eq!(answer.field(OF), Some(of), "{:?}", answer);
    }
    front.at_rest().await;
    let seen = target.seen();
    prop_assert_eq!(seen.rests, vec![]);
    prop_assert_eq!(seen.requests.len(), requests.len());
    requests.iter().zip(&seen.requests).try_for_each(|(request, found)| request.check(found))
}

// Answers.

#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    /// So many answers come before the one that counts.
    interim: usize,
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Body,
    cuts: Vec<prop::sample::Index>,
}

const STATUSES: [u16; 14] = [200, 201, 204, 206, 299, 301, 304, 400, 404, 418, 451, 500, 503, 599];

fn sent() -> impl Strategy<Value = Sent> {
    let body =
        prop_oneof![content().prop_map(Body::Length), chunked(), content().prop_map(Body::Close),];
    let method = select(&["GET", "HEAD", "OPTIONS", "DELETE"][..]);
    let interim = prop_oneof![4 => Just(0), 1 => 1..4_usize];
    (method, interim, select(&STATUSES[..]), fields(), body, cuts()).prop_map(
        |(method, interim, status, fields, body, cuts)| {
            let body = if matches!(status, 204 | 304) { Body::None } else { body };
            Sent { method, interim, status, fields, body, cuts }
        },
    )
}

impl Sent {
    fn answer(&self) -> Answer {
        let mut out = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(self.interim);
        out.extend(format!("HTTP/1.1 {} As It Is\r\n", self.status).bytes());
        write_fields(&self.fields, &mut out);
        let head = out.len();
        self.body.write(&mut out);
        if self.method == "HEAD" {
            let end = out[head..].windows(4).position(|four| four == b"\r\n\r\n");
            // There may be no field of the body's.
            out.truncate(end.map_or(head + 2, |end| head + end + 4));
            if matches!(self.body, Body::Close(_) | Body::None) {
                out.truncate(head + 2);
            }
        }
        Answer { parts: parts(&out, &self.cuts), end: matches!(self.body, Body::Close(_)) }
    }

    /// Compares it with what the client got.
    fn check(&self, found: &Message) -> Tested {
        prop_assert_eq!(found.status(), self.status, "{:?}", found);
        let body = if self.method == "HEAD" { Vec::new() } else { self.body.bytes() };
        prop_assert!(found.body == body, "another body: {:?}", found);
        let anew = ["content-length", "transfer-encoding", "trailer", "date", "connection"];
        same_fields(&found.fields, &self.fields, &anew)?;
        // What is whole because its length says so stays that; the end of a connection cannot.
        let length = found.field("content-length");
        match &self.body {
            Body::Length(bytes) => prop_assert_eq!(length, Some(bytes.len().to_string())),
            Body::None => prop_assert_eq!(length, None),
            // An empty one may have a length.
            _ if self.method != "HEAD" => prop_assert!(
                found.framing == Framing::Chunked || found.framing == Framing::Length(0),
                "{:?}",
                found
            ),
            _ => prop_assert_eq!(length, None),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn each_answer_reaches_its_client_as_one_that_says_the_same(all in vec(sent(), 1..5)) {
        runtime().block_on(check_answers(all))?;
    }
}

async fn check_answers(all: Vec<Sent>) -> Tested {
    let answers = all.iter().map(Sent::answer).collect::<Vec<_>>();
    let target = Target::answering(move |request| {
        let (_, path) = request.request();
        answers[path[1..].parse::<usize>().unwrap()].clone()
    })
    .await;
    let front = Front::of([target.address()]).await;
    let requests = all.iter().enumerate().map(|(number, sent)| {
        format!("{} /{number} HTTP/1.1\r\nhost: a\r\n\r\n", sent.method).into_bytes()
    });
    let mut client = Client::connect(&front, requests.collect()).await;
    for sent in &all {
        sent.check(&client.answer(sent.method).await)?;
    }
    front.at_rest().await;
    let seen = target.seen();
    prop_assert_eq!(seen.rests, vec![]);
    prop_assert_eq!(seen.requests.len(), all.len());
    Ok(())
}

/// A client that sends while it reads.
struct Client {
    reading: OwnedReadHalf,
    read: Vec<u8>,
}

impl Client {
    async fn connect(front: &Front, parts: Vec<Vec<u8>>) -> Self {
        let stream = TcpStream::connect(front.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reading, mut writing) = stream.into_split();
        tokio::spawn(async move {
            for part in parts {
                writing.write_all(&part).await.unwrap();
                tokio::task::yield_now().await;
            }
            // Its end would be taken for that of the client.
            std::future::pending::<()>().await;
        });
        Self { reading, read: Vec::new() }
    }

    /// Reads the next answer that counts.
    async fn answer(&mut self, method: &str) -> Message {
        loop {
            let next = strict::answer(&self.read, method, false);
            match next.unwrap_or_else(|wrong| panic!("{wrong}")) {
                Some((answer, length)) => {
                    self.read.drain(..length);
                    if answer.status() >= 200 {
                        return answer;
                    }
                }
                None => {
                    let count = soon("more of an answer", self.reading.read_buf(&mut self.read));
                    let count = count.await.unwrap();
                    let part = self.read.escape_ascii();
                    assert!(count > 0, "it ended after {part}");
                }
            }
        }
    }
}
