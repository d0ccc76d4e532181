//! The example as a process: how it is started, listened to and ended.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

use super::support::{
    examples::example,
    programs::{Directory, Port},
    soon,
};

fn binary() -> PathBuf {
    example("gateway")
}

/// The example, or a program that becomes it, in the directory of the documents.
fn command(mut command: Command, arguments: &[&str]) -> Command {
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(super) async fn run(arguments: &[&str]) -> Output {
    soon("the end of the example", command(Command::new(binary()), arguments).output())
        .await
        .unwrap()
}

/// Runs what must fail; what it says on standard error. It must not take a second, of which it gets
/// a few chances on a machine that has other things to do.
pub(super) async fn refused(arguments: &[&str]) -> String {
    for _ in 0..5 {
        let started = Instant::now();
        let output = run(arguments).await;
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        if started.elapsed() < Duration::from_secs(1) {
            return String::from_utf8(output.stderr).unwrap();
        }
    }
    panic!("takes more than a second to fail: {arguments:?}");
}

/// The example while it serves.
pub(super) struct Gateway {
    pub(super) child: Child,
    printed: Lines<BufReader<ChildStdout>>,
    pub(super) said: Lines<BufReader<ChildStderr>>,
    pub(super) file: PathBuf,
    _directory: Directory,
}

impl Gateway {
    /// Starts it and waits until it listens on all these ports.
    pub(super) async fn start(document: &Value, ports: &[&Port]) -> Self {
        Self::start_by(Command::new(binary()), document, ports).await
    }

    /// The same, with so many descriptors at most.
    pub(super) async fn start_within(limit: u32, document: &Value, ports: &[&Port]) -> Self {
        let mut shell = Command::new("sh");
        let limited = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
        shell.args(["-c", &limited]).arg(binary());
        Self::start_by(shell, document, ports).await
    }

    async fn start_by(program: Command, document: &Value, ports: &[&Port]) -> Self {
        let directory = Directory::new();
        let file = directory.write("lb.json", document.to_string());
        let mut command = command(program, &[file.to_str().unwrap()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut gateway = Self { child, printed, said, file, _directory: directory };
        let mut addresses: Vec<_> = ports.iter().map(|port| port.address).collect();
        addresses.sort();
        for address in addresses {
            assert_eq!(gateway.line().await, format!("listening on http://{address}"));
        }
        gateway
    }

    /// The next line that it prints.
    pub(super) async fn line(&mut self) -> String {
        let line = soon("a line of the example", self.printed.next_line()).await.unwrap();
        line.expect("the example ended")
    }

    /// The next line on standard error.
    pub(super) async fn complaint(&mut self) -> String {
        let line = soon("a line on standard error", self.said.next_line()).await.unwrap();
        line.expect("the example ended")
    }

    /// The next line on standard error that has this in it.
    pub(super) async fn complaint_about(&mut self, part: &str) -> String {
        loop {
            let line = self.complaint().await;
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Reads until each of these targets turned into this state, and none into another; all lines.
    pub(super) async fn turned(&mut self, targets: &[SocketAddr], state: &str) -> String {
        let (mut left, mut said) = (targets.to_vec(), String::new());
        while !left.is_empty() {
            let line = self.complaint().await;
            if line.contains("health changed") {
                let of = |target: &SocketAddr| line.contains(&format!(" target={target} "));
                let turned = line.contains(&format!(" new={state}"));
                let turned = left.iter().position(of).filter(|_| turned);
                left.remove(turned.unwrap_or_else(|| panic!("{left:?} into {state}: {line}")));
            }
            said += &(line + "\n");
        }
        said
    }

    pub(super) fn write(&self, document: &Value) {
        fs::write(&self.file, document.to_string()).unwrap();
    }

    /// Gives it another document, which it takes.
    pub(super) async fn reload(&mut self, document: &Value) {
        self.write(document);
        self.signal("HUP").await;
        assert_eq!(self.line().await, format!("reloaded {}", self.file.display()));
    }

    pub(super) async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id().expect("the example ended"));
        let sent = Command::new("sh").args(["-c", &kill]).status().await.unwrap();
        assert!(sent.success());
    }

    pub(super) async fn ended(&mut self) -> ExitStatus {
        soon("the end of the example", self.child.wait()).await.unwrap()
    }
}
