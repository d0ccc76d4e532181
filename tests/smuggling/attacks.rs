//! Sends each message of the corpus, and a harmless request after it, over one connection.
//!
//! Whatever a message is, three things hold: all that its target gets can be read in one way only, no
//! request comes out of a body, and the harmless request is answered by its own answer or not at all.

use std::{fmt::Write, net::SocketAddr};

use futures_util::StreamExt;
use pointsman::{LoadBalancer, RuleTable, TargetGroup};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    corpus::{self, Case, Seen, Verdict},
    strict::{self, Message},
    support::{SOON, Server, at_rest, until},
    target::{self, OF, Target},
};

/// The harmless request.
const CANARY: &str = "GET /canary HTTP/1.1\r\nhost: a\r\n\r\n";

/// What all attacks try to have read as a request.
const SMUGGLED: &str = "/smuggled";

/// Who accepts the client's connection.
#[derive(Clone, Copy, Debug)]
enum Door {
    /// hyper's server with nothing set.
    Hyper,
    #[cfg(feature = "server")]
    Ours,
}

#[tokio::test]
async fn no_attack_makes_two_requests_of_one_behind_a_plain_server_of_hypers() {
    check_all(Door::Hyper).await;
}

#[cfg(feature = "server")]
#[tokio::test]
async fn no_attack_makes_two_requests_of_one_behind_our_server() {
    check_all(Door::Ours).await;
}

async fn check_all(door: Door) {
    let cases = corpus::cases();
    let all = cases.len();
    let findings = futures_util::stream::iter(cases).map(|case| async move {
        let found = check(&case, door).await;
        found.map_err(|wrong| {
            format!("\n{} ({}), {:?}:\n{wrong}", case.name, case.class, case.verdict)
        })
    });
    let findings = findings.buffered(8).collect::<Vec<_>>().await;
    let wrong = findings.into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{} of {all} at {door:?}:\n{}", wrong.len(), wrong.concat());
}

/// What came of a message.
struct Found {
    port: u16,
    answers: Vec<Message>,
    /// Whether the balancer ended the client's connection.
    closed: bool,
    target: target::Seen,
    /// Whether there was a connection to the target, and one is kept.
    connected: bool,
    kept: bool,
}

async fn check(case: &Case, door: Door) -> Result<(), String> {
    let found = found(case, door).await?;
    safe(case, &found).and_then(|()| as_said(case, &found)).map_err(|wrong| {
        let mut text = format!("  {wrong}\n");
        for answer in &found.answers {
            _ = writeln!(text, "  answer: {answer:?}");
        }
        for request in &found.target.requests {
            _ = writeln!(text, "  request: {request:?}");
        }
        for (rest, _) in &found.target.rests {
            let rest = rest[..rest.len().min(300)].escape_ascii().to_string();
            _ = writeln!(text, "  no request: {rest:?}");
        }
        _ = writeln!(text, "  closed: {}, kept: {}", found.closed, found.kept);
        text
    })
}

async fn found(case: &Case, door: Door) -> Result<Found, String> {
    let target = Target::answering(target::echo).await;
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(pointsman::Target::new(target.address()));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let ((answers, closed), port) = match door {
        Door::Hyper => {
            let server = Server::balancing(&balancer).await;
            (attack(case, server.address).await?, server.address.port())
        }
        #[cfg(feature = "server")]
        Door::Ours => {
            let server = pointsman::server::Server::builder().bind(([127, 0, 0, 1], 0));
            let server = server.build().unwrap();
            let address = server.local_addrs()[0];
            let serving = tokio::spawn(server.serve(balancer.clone()));
            let found = attack(case, address).await;
            serving.abort();
            (found?, address.port())
        }
    };
    at_rest(&group).await;
    // What is kept is back in its pool, what is not is closed.
    let kept = || group.status().targets[0].connections_idle;
    until("connections are kept or closed", || target.server.counts.open() == kept()).await;
    let connected = target.server.counts.opened() > 0;
    let kept = kept() > 0;
    // What it got beyond its requests it tells when its connections end.
    drop((balancer, group));
    until("all connections are closed", || target.server.counts.open() == 0).await;
    let target = target.seen();
    Ok(Found { port, answers, closed, connected, kept, target })
}

/// Sends it all at once; reads answers until that of the harmless request or the end.
async fn attack(case: &Case, address: SocketAddr) -> Result<(Vec<Message>, bool), String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let bytes = [&case.bytes, CANARY.as_bytes()].concat();
    let write = async {
        // Whoever refuses does not read the rest.
        _ = writing.write_all(&bytes).await;
        if matches!(case.verdict, Verdict::Broken(_)) {
            // It may be that the rest would have come.
            _ = writing.shutdown().await;
        }
    };
    let mut read = Vec::new();
    let answers = async {
        let mut answers = Vec::<Message>::new();
        let mut ended = false;
        loop {
            while !read.is_empty() {
                let next = strict::answer(&read, method(&read, case), ended);
                let Some((answer, length)) = next? else { break };
                read.drain(..length);
                let canary = answer.field(OF).as_deref() == Some("GET /canary");
                answers.push(answer);
                if canary {
                    return Ok((answers, false));
                }
            }
            if ended {
                break;
            }
            ended = !matches!(reading.read_buf(&mut read).await, Ok(1..));
        }
        if read.is_empty() {
            return Ok((answers, true));
        }
        Err(format!("after {answers:?} a part: {:?}", read.escape_ascii().to_string()))
    };
    match timeout(SOON, async { tokio::join!(write, answers) }).await {
        Ok(((), answers)) => answers,
        Err(_) => Err("  neither an answer nor an end".to_owned()),
    }
}

/// To what the next answer answers: it says so itself, or it is a refusal of the message.
fn method(read: &[u8], case: &Case) -> &'static str {
    let of = format!("{OF}: HEAD ");
    let head = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(read.len());
    let of_head = read[..head].windows(of.len()).any(|window| window == of.as_bytes());
    let refused = !read[..head].windows(OF.len()).any(|window| window == OF.as_bytes())
        && case.bytes.starts_with(b"HEAD ");
    if of_head || refused { "HEAD" } else { "GET" }
}

/// What holds for every message.
fn safe(case: &Case, found: &Found) -> Result<(), String> {
    if let Some(wrong) = found.target.rests.iter().find_map(|(_, wrong)| wrong.as_ref()) {
        return Err(format!("the target got what may be read in two ways: {wrong}"));
    }
    let smuggled = |request: &&Message| request.request().1.contains(SMUGGLED);
    if let Some(smuggled) = found.target.requests.iter().find(smuggled) {
        return Err(format!("smuggled: {smuggled:?}"));
    }
    let answers = found.answers.iter().filter(|answer| answer.status() >= 200);
    let told = answers.filter_map(|answer| answer.field(OF)).collect::<Vec<_>>();
    let mut expected = case.seen.iter().map(|seen| format!("{} {}", seen.method, seen.target));
    if let Some(told) =
        told.iter().find(|told| expected.all(|seen| **told != seen) && *told != "GET /canary")
    {
        return Err(format!("an answer to {told}"));
    }
    Ok(())
}

/// What is said of this one.
fn as_said(case: &Case, found: &Found) -> Result<(), String> {
    let mut statuses = found.answers.iter().map(Message::status).filter(|status| *status >= 200);
    let mut seen = found.target.requests.iter().map(Seen::of).collect::<Vec<_>>();
    let canary = Seen { method: "GET".to_owned(), target: "/canary".to_owned(), body: vec![] };
    let canary_seen = seen.last() == Some(&canary) && seen.pop().is_some();
    let canary_answered =
        found.answers.last().is_some_and(|last| last.field(OF).as_deref() == Some("GET /canary"));
    let rest = !found.target.rests.is_empty();
    let (expected_status, closed) = match case.verdict {
        Verdict::Refused(status) | Verdict::Broken(status) => (status, true),
        Verdict::Answered(status) => (Some(status), false),
        Verdict::Forwarded => (Some(200), false),
        Verdict::ClientClosed | Verdict::Closed => (Some(200), true),
    };
    if statuses.next() != expected_status {
        return Err("another status".to_owned());
    }
    if found.closed != closed || canary_seen == closed || canary_answered == closed {
        return Err(format!("canary: seen {canary_seen}, answered {canary_answered}"));
    }
    if seen != case.seen {
        return Err(format!("the target saw {seen:?} instead of {:?}", case.seen));
    }
    let well = match case.verdict {
        Verdict::Refused(_) => !found.connected,
        Verdict::Broken(_) => !found.kept,
        Verdict::Answered(_) => !rest,
        Verdict::Forwarded | Verdict::ClientClosed => !rest && found.kept,
        Verdict::Closed => !rest && !found.kept,
    };
    if !well {
        return Err("connections".to_owned());
    }
    fields(case, found)
}

fn fields(case: &Case, found: &Found) -> Result<(), String> {
    let Some(first) = found.target.requests.first() else { return Ok(()) };
    for (name, value) in &case.with {
        let value = value.replace("{port}", &found.port.to_string());
        if first.field(name) != Some(value) {
            return Err(format!("{name} is {:?}", first.field(name)));
        }
    }
    let mut all = first.fields.iter().chain(&first.trailers);
    match all.find(|field| case.without.contains(&field.0)) {
        Some(field) => Err(format!("{} is there", field.0)),
        None => Ok(()),
    }
}

impl Seen {
    fn of(request: &Message) -> Self {
        let (method, target) = request.request();
        Self { method: method.to_owned(), target: target.to_owned(), body: request.body.clone() }
    }
}
