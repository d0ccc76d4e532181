//! The example: what it prints, how it ends, and what signals do.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Response, header::SET_COOKIE};
use pointsman::Body;
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::Semaphore};

use super::{
    ask,
    child::{Gateway, refused, run},
    document, fixed, forward, group, listener, rule, start, sticky,
    support::{
        Server, client, fetch,
        programs::{Directory, Port},
        socket::{Socket, field, status},
        soon, until,
    },
    text,
};

/// Compares with a file, or writes it anew if asked to.
fn check_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway").join(name);
    if std::env::var_os("WRITE_GOLDEN_FILES").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, expected, "{name}: WRITE_GOLDEN_FILES=1 cargo test writes it anew");
}

/// Runs it as a person would; the command and what came of it.
async fn transcript(runs: &[&[&str]]) -> String {
    let mut text = String::new();
    for arguments in runs {
        let output = run(arguments).await;
        let quoted = arguments.iter().map(|argument| match argument.contains(' ') {
            true => format!(" '{argument}'"),
            false => format!(" {argument}"),
        });
        text += &format!("$ gateway{}\n", quoted.collect::<String>());
        text += &String::from_utf8(output.stdout).unwrap();
        text += &String::from_utf8(output.stderr).unwrap();
        text += &format!("exit {}\n\n", output.status.code().unwrap());
    }
    text
}

#[tokio::test]
async fn check_says_what_is_wrong_and_what_is_doubtful() {
    let runs: &[&[&str]] = &[
        &["--check", "example.json"],
        &["doubtful.json", "--check"],
        &["ignored.json", "--check", "--bind", "127.0.0.1"],
        &["--check", "wrong.json"],
    ];
    check_golden("check.txt", &transcript(runs).await);
}

#[tokio::test]
async fn explain_says_what_a_listener_would_do() {
    let file = "everything.json";
    let runs: &[&[&str]] = &[
        &[file, "--explain", "GET http://h.example:8080/old/a?x=1"],
        &["--explain", "GET http://h.example:8080/?version=v1", "--from", "192.0.2.7", file],
        &["--explain", "GET http://h.example:8080/", "--from", "192.0.2.9:1", file],
        &["--explain", "GET http://h.example/a", file],
        &[file, "-H", "Host: status.example.com", "--explain", "POST http://h.example/"],
        &["--explain", "GET http://h.example:81/", file],
        &[file, "--explain", "GET https://h.example:8080/"],
        &[file, "--explain", "GET /"],
    ];
    check_golden("explain.txt", &transcript(runs).await);
}

#[tokio::test]
async fn what_cannot_start_says_why_within_a_second() {
    let directory = Directory::new();
    let bad = directory.write("bad.json", r#"{"Colour": 1, "Listeners": [], "Targetgroups": []}"#);
    let bad = bad.to_str().unwrap();
    let said = refused(&[bad]).await;
    let lines: Vec<_> = said.lines().collect();
    let parts = ["Colour: unknown field", "Targetgroups: unknown field", "Listeners: []"];
    assert_eq!(lines.len(), parts.len(), "{said}");
    for (line, part) in lines.iter().zip(parts) {
        assert!(line.starts_with(&format!("{bad}: {part}")), "{part}: {said}");
    }
    let said = refused(&["none-such.json"]).await;
    assert!(said.starts_with("none-such.json: No such file"), "{said}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let lb = document(&[], &[listener(address.port(), &fixed("x"), &[])]);
    let lb = directory.write("lb.json", lb.to_string());
    let said = refused(&[lb.to_str().unwrap()]).await;
    assert!(
        said.contains(&format!("cannot listen on {address}: Address already in use")),
        "{said}"
    );

    let check = async |arguments: &[&str], expected: &str| {
        let said = refused(arguments).await;
        assert!(said.starts_with(expected), "{said}");
        assert!(said.trim_end().lines().count() <= 2, "{said}");
    };
    check(&[], "usage: gateway FILE").await;
    check(&["example.json", "--chek"], "unknown option --chek\nusage: gateway FILE").await;
    check(&["example.json", "--bind"], "--bind needs a value\nusage").await;
    check(&["example.json", "--bind", "here"], "--bind: expected an IP address").await;
    check(&["example.json", "wrong.json"], "one FILE only\nusage").await;
}

#[tokio::test]
async fn it_answers_by_rule_as_alb_does_and_ends_with_0() {
    let (web, api, port) =
        (Server::named("web").await, Server::named("api").await, Port::reserve());
    let other = Server::named("web 2").await;
    let groups = [
        group("web", &[web.address]),
        group("api", &[api.address]),
        group("none", &[]),
        sticky("sticky", &[web.address, other.address]),
    ];
    let rules = [
        rule(1, "/api/*", &forward("api")),
        rule(2, "/sticky", &forward("sticky")),
        rule(3, "/none", &forward("none")),
        rule(4, "/fixed", &fixed("fixed")),
    ];
    let lb = document(&groups, &[listener(port.address.port(), &forward("web"), &rules)]);
    let mut gateway = Gateway::start(&lb, &[&port]).await;
    assert_eq!(text(port.address, "/").await, "web");
    assert_eq!(text(port.address, "/api/x").await, "api");
    assert_eq!(text(port.address, "/fixed").await, "fixed");

    let mut socket = Socket::connect(port.address).await;
    let (head, body) = ask(&mut socket, "/none").await;
    assert_eq!(status(&head), 503);
    assert!(field(&head, "content-type").unwrap().starts_with("text/html"), "{head}");
    assert!(body.contains("<h1>503 Service Temporarily Unavailable</h1>"), "{body}");

    let client = client();
    let request = |cookies: &str| {
        let uri = format!("http://{}/sticky", port.address);
        http::Request::get(uri).header("cookie", cookies).body(Body::default()).unwrap()
    };
    let (parts, first) = fetch(&client, request("")).await;
    let cookies: Vec<_> = parts.headers.get_all(SET_COOKIE).iter().collect();
    let cookies: Vec<_> = cookies.iter().map(|cookie| cookie.to_str().unwrap()).collect();
    let [plain, cors] = *cookies else { panic!("{cookies:?}") };
    assert!(plain.starts_with("AWSALB=") && cors.starts_with("AWSALBCORS="), "{cookies:?}");
    assert!(cors.contains("SameSite=None") && !plain.contains("SameSite"), "{cookies:?}");
    let pairs: Vec<_> = cookies.iter().map(|cookie| cookie.split(';').next().unwrap()).collect();
    for _ in 0..6 {
        assert_eq!(fetch(&client, request(&pairs.join("; "))).await.1, first);
        assert_eq!(fetch(&client, request(pairs[1])).await.1, first);
    }

    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test]
async fn ctrl_c_ends_it_too_and_a_second_one_at_once() {
    let begun = Arc::new(Semaphore::new(0));
    let slow = Server::answering({
        let begun = Arc::clone(&begun);
        move |request| {
            // Checks of its health are answered.
            let held = request.uri().path() == "/held";
            begun.add_permits(usize::from(held));
            async move {
                if held {
                    std::future::pending::<()>().await;
                }
                Response::new(Body::default())
            }
        }
    })
    .await;
    let port = Port::reserve();
    let listeners = [listener(port.address.port(), &forward("slow"), &[])];
    let lb = document(&[group("slow", &[slow.address])], &listeners);
    let mut gateway = Gateway::start(&lb, &[&port]).await;
    let mut idle = Socket::connect(port.address).await;
    ask(&mut idle, "/").await;
    let mut held = Socket::connect(port.address).await;
    held.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    soon("the request at the target", begun.acquire()).await.unwrap().forget();

    gateway.signal("INT").await;
    soon("the end of the idle connection", idle.closed()).await;
    soon("the end of accepting", async {
        while TcpStream::connect(port.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(gateway.child.try_wait().unwrap(), None, "an exchange goes on");
    gateway.signal("INT").await;
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sighup_reloads_and_a_bad_file_changes_nothing() {
    let (port, second) = (Port::reserve(), Port::reserve());
    let of = |text| listener(port.address.port(), &fixed(text), &[]);
    let mut gateway = Gateway::start(&document(&[], &[of("old")]), &[&port]).await;
    let mut socket = Socket::connect(port.address).await;
    assert_eq!(ask(&mut socket, "/").await.1, "old");

    let more = listener(second.address.port(), &fixed("second"), &[]);
    gateway.reload(&document(&[], &[of("new"), more])).await;
    assert_eq!(gateway.line().await, format!("listening on http://{}", second.address));
    assert_eq!(ask(&mut socket, "/").await.1, "new");
    assert_eq!(text(second.address, "/").await, "second");

    gateway.write(&json!({"Colour": 1, "Listeners": [], "Targetgroups": []}));
    gateway.signal("HUP").await;
    let file = gateway.file.display().to_string();
    for part in ["Colour: unknown field", "Targetgroups: unknown field", "Listeners: []"] {
        let complaint = gateway.complaint().await;
        assert!(complaint.starts_with(&format!("{file}: {part}")), "{part}: {complaint}");
    }
    assert_eq!(gateway.complaint().await, "reload refused, everything stays as it was");
    assert_eq!(ask(&mut socket, "/").await.1, "new");
    assert_eq!(text(second.address, "/").await, "second");

    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test]
async fn who_may_not_connect_and_who_is_well_is_logged() {
    let (port, web) = (Port::reserve(), Server::named("web").await);
    let listeners = [listener(port.address.port(), &forward("web"), &[])];
    let mut lb = document(&[group("web", &[web.address])], &listeners);
    lb["SecurityGroups"] = json!([{"GroupId": "sg-nobody", "IpPermissions": []}]);
    let mut gateway = Gateway::start(&lb, &[&port]).await;
    for _ in 0..3 {
        soon("the end", Socket::connect(port.address).await.closed()).await;
    }
    let (mut refused, mut changed) = (Vec::new(), Vec::new());
    while refused.is_empty() || changed.is_empty() {
        let line = gateway.complaint().await;
        match line.contains("no security group admits it") {
            true => refused.push(line),
            false => changed.push(line),
        }
    }
    let [refused, changed] = [refused, changed].map(|lines| lines.join("\n"));
    for part in ["WARN", "client=127.0.0.1:", &format!("port={}", port.address.port()), "sg-nobody"]
    {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let asked = format!("GET http://{}/ answered 200, expected 200", web.address);
    for part in [&*web.address.to_string(), "web", "initial", "healthy", &asked] {
        assert!(changed.contains(part), "{part}: {changed}");
    }
}

#[tokio::test]
async fn sigterm_leaves_websockets_open_until_a_second_one() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let target = Server::by_hand(move |mut socket, _| async move {
        loop {
            match socket.try_head().await {
                None => return,
                Some(head) if head.contains("/chat") => break,
                // A check of its health.
                Some(_) => _ = socket.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await,
            }
        }
        socket.send(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n")).await.unwrap();
        while let [byte] = *socket.at_most(1).await {
            _ = socket.send([byte]).await;
        }
    })
    .await;
    let (mut gateway, port) = start(&[group("web", &[target.address])], &forward("web")).await;
    let mut socket = Socket::connect(port.address).await;
    socket.send(format!("GET /chat HTTP/1.1\r\nHost: a.test\r\n{upgrade}\r\n")).await.unwrap();
    assert_eq!(status(&socket.head().await), 101);

    gateway.signal("TERM").await;
    soon("the end of accepting", async {
        while TcpStream::connect(port.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    socket.send("on").await.unwrap();
    assert_eq!(socket.exactly(2).await, b"on");
    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert_eq!(socket.rest().await, b"", "no frame of ours");
    until("the target sees it", || target.counts.open() == 0).await;
}

/// Asks on connections that stay until no more are accepted. A connection that ends instead of an
/// answer was closed between two requests, and another is made.
async fn ask_until_refused(address: SocketAddr, answered: Arc<AtomicUsize>) {
    'connections: while let Ok(stream) = TcpStream::connect(address).await {
        let mut socket = Socket::new(stream);
        loop {
            let request = "POST /load HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";
            if socket.send(request).await.is_err() {
                continue 'connections;
            }
            let Some(first) = socket.at_most(1).await.first().copied() else {
                continue 'connections;
            };
            let (head, body) = socket.answer().await;
            assert_eq!((first, status(&head), &*body), (b'H', 200, "done"), "{head}");
            answered.fetch_add(1, Ordering::SeqCst);
            if field(&head, "connection").is_some_and(|value| value == "close") {
                continue 'connections;
            }
        }
    }
}

#[tokio::test]
async fn sigterm_under_load_fails_no_request() {
    let asked = Arc::new(AtomicUsize::new(0));
    let target = Server::answering({
        let asked = Arc::clone(&asked);
        move |request| {
            if request.uri().path() == "/load" {
                asked.fetch_add(1, Ordering::SeqCst);
            }
            async move { Response::new(Body::from("done")) }
        }
    })
    .await;
    let port = Port::reserve();
    let listeners = [listener(port.address.port(), &forward("web"), &[])];
    let lb = document(&[group("web", &[target.address])], &listeners);
    let mut gateway = Gateway::start(&lb, &[&port]).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..64 {
        clients.spawn(ask_until_refused(port.address, Arc::clone(&answered)));
    }
    let mut idle = Vec::new();
    for _ in 0..16 {
        let mut socket = Socket::connect(port.address).await;
        ask(&mut socket, "/").await;
        idle.push(socket);
    }
    until("some load", || answered.load(Ordering::SeqCst) > 640).await;
    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await.code(), Some(0));
    while let Some(ended) = soon("the end of the clients", clients.join_next()).await {
        ended.unwrap();
    }
    for mut socket in idle {
        soon("the end of an idle connection", socket.closed()).await;
    }
    // Whatever was taken was answered, to somebody who was there to hear it.
    assert_eq!(asked.load(Ordering::SeqCst), answered.load(Ordering::SeqCst));
    let mut said = String::new();
    soon("standard error", gateway.said.into_inner().read_to_string(&mut said)).await.unwrap();
    assert!(!said.contains("were cut"), "{said}");
}
