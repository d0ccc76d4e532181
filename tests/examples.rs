//! Each example is run, and what it prints or answers is compared with what it promises.

#[path = "support/examples.rs"]
mod built;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use built::example;

/// Runs an example to its end; what it printed.
fn run(name: &'static str) -> String {
    let output = Command::new(example(name)).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// An example that serves until it is dropped.
struct Serving {
    child: Child,
    address: String,
    printed: BufReader<ChildStdout>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn serve(name: &'static str) -> Serving {
    let mut command = Command::new(example(name));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    printed.read_line(&mut first).unwrap();
    let address = first.trim().strip_prefix("http://").unwrap().to_owned();
    Serving { child, address, printed }
}

impl Serving {
    /// Asks on a connection of its own; the status and the body.
    fn get(&self, path: &str) -> (u16, String) {
        self.get_with(path, "")
    }

    /// The same with more fields.
    fn get_with(&self, path: &str, fields: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}

#[test]
fn observe_counts_exchanges_by_group_and_end() {
    let expected = "shop: 1 x ClientLeft 200 OK\n\
                    shop: 2 x Done 200 OK\n\
                    shop: 1 x Done 404 Not Found\n\
                    shop: 1 x Done 500 Internal Server Error\n";
    assert_eq!(run("observe"), expected);
}

#[test]
fn two_backends_alternate_and_one_may_stop() {
    let mut demo = serve("two_backends");
    let mut hint = String::new();
    demo.printed.read_line(&mut hint).unwrap();
    assert!(hint.starts_with(&format!("curl http://{}/ ", demo.address)), "{hint}");
    let ask = || {
        let (status, body) = demo.get("/");
        assert_eq!(status, 200, "{body}");
        body
    };
    let four = || [ask(), ask(), ask(), ask()];
    let alternate = |answers: &[String; 4]| {
        answers[0] != answers[1] && answers[0] == answers[2] && answers[1] == answers[3]
    };
    assert!(alternate(&four()));

    demo.get("/stop/two");
    // Those that still meet `two` are answered by `one`; once its socket is closed, all are.
    let only_one =
        |answers: &[String; 4]| answers.iter().all(|answer| answer == "hello from one\n");
    until("all from one", || only_one(&four()));
    for _ in 0..10 {
        assert!(only_one(&four()));
    }

    demo.get("/start/two");
    until("alternating again", || alternate(&four()));
    assert!(demo.get("/status").1.contains("web: 2 of 2 targets healthy"));
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
    }
}

#[test]
fn axum_app_answers_some_paths_and_balances_the_rest() {
    let app = serve("axum_app");
    assert_eq!(app.get("/about"), (200, "answered by axum itself\n".to_owned()));
    assert_eq!(app.get("/").1, "web one for 127.0.0.1\n");
    assert_eq!(app.get("/").1, "web two for 127.0.0.1\n");
    assert_eq!(app.get("/api/x").1, "api for 127.0.0.1\n");
    assert_eq!(app.get("/admin"), (403, "not for you\n".to_owned()));
}

#[test]
fn hyper_app_balances_and_tells_the_port() {
    let app = serve("hyper_app");
    let port = app.address.rsplit(':').next().unwrap();
    assert_eq!(app.get("/a?b=1").1, format!("one /a?b=1 {port}\n"));
    assert_eq!(app.get("/").1, format!("two / {port}\n"));
}

#[test]
fn forward_goes_where_the_program_says() {
    let app = serve("forward");
    let red = app.get_with("/a", "X-Tenant: red\r\n");
    assert_eq!(red, (200, "red /a for 127.0.0.1\n".to_owned()));
    let blue = app.get_with("/b", "X-Tenant: blue\r\nX-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(blue, (200, "blue /b for 192.0.2.1, 127.0.0.1\n".to_owned()));
    assert_eq!(app.get("/").0, 404);
    assert_eq!(app.get_with("/", "X-Tenant: red\r\nContent-Length: 0\r\nExpect: more\r\n").0, 417);
    until("none is in flight", || app.get("/load").1 == "blue 0\nred 0\n");
}

#[test]
fn own_stack_times_out_one_attempt() {
    assert_eq!(run("own_stack"), "200 i am echo\n504 504 Gateway Timeout\n");
}

#[test]
fn explain_says_which_rule_and_which_target() {
    let printed = run("explain");
    assert!(
        printed.contains("https") || printed.contains("http://www.example.com:80/a?b=1"),
        "{printed}"
    );
    assert!(printed.contains("rule 20"), "{printed}");
    assert!(printed.contains("target 10.0.0.1:80, picked by round_robin"), "{printed}");
    assert!(printed.contains("the group has no registered target"), "{printed}");
}

#[test]
fn in_process_moves_from_the_old_program_to_the_new_code() {
    let printed = run("in_process");
    let old = printed.matches("the old program\n").count();
    let new = printed.matches("the new code\n").count();
    assert_eq!((old, new), (3, 1), "{printed}");
    assert_eq!(printed.matches("the newer code\n").count(), 2, "{printed}");
    assert!(printed.contains("draining"), "{printed}");
}

#[test]
fn blue_green_moves_all_traffic_and_drains() {
    let printed = run("blue_green");
    assert!(printed.contains("weights 100/0: blue 1000 green 0\n"), "{printed}");
    assert!(printed.contains("weights 0/100: blue 0 green 1000\n"), "{printed}");
    assert!(printed.contains("blue-1  draining"), "{printed}");
    assert!(printed.ends_with("the last request on blue: 200 OK\n"), "{printed}");
}
