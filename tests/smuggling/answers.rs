//! Sends each answer of the corpus as a target's, and a harmless request after it: what the client gets
//! can be read in one way only, what is missing is missed, and no answer is taken for that of another
//! request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    corpus::{Keys, unescape},
    strict::{self, Message},
    support::{Front, SOON, until},
    target::{Answer, OF, Target, echo},
};

/// What no client ever sees of what a target sends.
const FORGED: &str = "forged";

struct Case {
    name: String,
    method: String,
    verdict: Verdict,
    /// Status and body.
    got: (u16, Vec<u8>),
    without: Vec<String>,
    bytes: Vec<u8>,
    /// Whether the target ends its connection after it.
    end: bool,
}

/// What becomes of an answer, and of the connection it came over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// `replaced STATUS`: the client gets one of ours, the connection is closed.
    Replaced,
    /// `broken`: the client gets what there is, if that is anything, and sees that it is not whole; all is
    /// closed.
    Broken,
    /// `passed`: and the connection is kept.
    Passed,
    /// `passed, dropped`: and the connection is closed.
    Dropped,
}

fn cases() -> Vec<Case> {
    let blocks = include_str!("corpus/answers.txt").split("\n## ").skip(1);
    blocks.map(|block| case(block).unwrap_or_else(|wrong| panic!("{wrong}: {block}"))).collect()
}

fn case(block: &str) -> Result<Case, String> {
    let Keys { name, keys, bytes } = Keys::read(block)?;
    let known = ["class", "to", "verdict", "got", "without", "end"];
    if let Some((key, _)) = keys.iter().find(|(key, _)| !known.contains(&&**key)) {
        return Err(format!("what is {key:?}?"));
    }
    let key = |key: &str| keys.iter().find(|(name, _)| name == key).map(|(_, value)| &**value);
    let text = key("verdict").ok_or("no verdict")?;
    let status = |text: &str| text.parse::<u16>().map_err(|_| format!("what is {text:?}?"));
    let (verdict, got) = match (text.split_once(' '), key("got")) {
        (Some(("replaced", code)), None) => (Verdict::Replaced, (status(code)?, vec![])),
        (_, Some(got)) => {
            let (code, body) = got.split_once(' ').unwrap_or((got, ""));
            let verdict = match text {
                "broken" => Verdict::Broken,
                "passed" => Verdict::Passed,
                "passed, dropped" => Verdict::Dropped,
                _ => return Err(format!("what is {text:?}?")),
            };
            (verdict, (status(code)?, unescape(body)))
        }
        _ => return Err("the verdict and what is got are at odds".to_owned()),
    };
    let without = key("without").unwrap_or_default().split(", ").map(str::to_owned).collect();
    let method = key("to").unwrap_or("GET").to_owned();
    Ok(Case { name, method, verdict, got, without, bytes, end: key("end").is_some() })
}

#[tokio::test]
async fn no_answer_is_taken_for_another_or_for_more_than_it_is() {
    let cases = cases();
    let all = cases.len();
    println!("{all} answers");
    let findings = futures_util::stream::iter(cases).map(|case| async move {
        let found = timeout(SOON, check(&case)).await;
        let found = found.unwrap_or_else(|_| Err("neither an answer nor an end".to_owned()));
        found.map_err(|wrong| format!("\n{}, {:?}: {wrong}\n", case.name, case.verdict))
    });
    let findings = findings.buffered(8).collect::<Vec<_>>().await;
    let wrong = findings.into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{} of {all}:\n{}", wrong.len(), wrong.concat());
}

async fn check(case: &Case) -> Result<(), String> {
    let first = Arc::new(AtomicBool::new(true));
    let target = Target::answering({
        let (bytes, end) = (case.bytes.clone(), case.end);
        move |request| {
            if first.swap(false, Ordering::SeqCst) {
                return Answer { parts: vec![bytes.clone()], end };
            }
            echo(request)
        }
    })
    .await;
    let front = Front::of([target.address()]).await;
    let stream = TcpStream::connect(front.address()).await.unwrap();
    let mut client = Client { stream, read: Vec::new() };

    let answer = client.ask(&case.method, "/a").await?;
    let broken = case.verdict == Verdict::Broken;
    match &answer {
        Ok(answer) => {
            let got = (answer.status(), &answer.body);
            let expected = (case.got.0, &case.got.1);
            let replaced = case.verdict == Verdict::Replaced;
            let body = got.1 == expected.1 || replaced;
            if broken || got.0 != expected.0 || !body {
                return Err(format!("{answer:?}"));
            }
            if let Some(field) = answer.fields.iter().find(|field| case.without.contains(&field.0))
            {
                return Err(format!("{} is there: {answer:?}", field.0));
            }
        }
        Err(rest) => {
            let head = format!("HTTP/1.1 {} ", case.got.0);
            let part = String::from_utf8_lossy(&case.got.1).into_owned();
            // When nothing of its body is right, its head may be kept back.
            let nothing = rest.is_empty() && part.is_empty();
            let as_said = nothing || rest.starts_with(&head) && rest.contains(&part);
            if !broken || !as_said {
                return Err(format!("an end after {rest:?}"));
            }
        }
    }
    let seen = format!("{answer:?}");
    if seen.contains(FORGED) {
        return Err(seen);
    }
    front.at_rest().await;
    // What is kept is back in its pool, what is not is closed.
    let kept = || front.group.status().targets[0].connections_idle;
    until("connections are kept or closed", || target.server.counts.open() == kept()).await;
    let keeps = case.verdict == Verdict::Passed;
    if (kept() == 1) != keeps {
        return Err(format!("{} connections are kept", kept()));
    }

    if broken {
        client.stream = TcpStream::connect(front.address()).await.unwrap();
        client.read.clear();
    }
    let answer = client.ask("GET", "/canary").await?;
    let of = answer.as_ref().ok().and_then(|answer| answer.field(OF));
    if of.as_deref() != Some("GET /canary") {
        return Err(format!("then {answer:?}"));
    }
    Ok(())
}

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    /// Asks and reads the answer, or what came instead of a whole one until the end.
    async fn ask(&mut self, method: &str, path: &str) -> Result<Result<Message, String>, String> {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        loop {
            if let Some((answer, length)) = strict::answer(&self.read, method, false)? {
                self.read.drain(..length);
                return Ok(Ok(answer));
            }
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return Ok(Err(String::from_utf8_lossy(&self.read).into_owned()));
            }
        }
    }
}
