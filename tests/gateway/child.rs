//! The example as a process: how it is built, started, listened to and ended.

use std::{
    fs,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Once,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

use super::support::{
    programs::{Directory, Port},
    soon,
};

/// `cargo test` builds the examples beside the tests; `cargo test --test gateway_run` does not.
fn binary() -> PathBuf {
    let path = std::env::current_exe().unwrap();
    let path = path.ancestors().nth(2).unwrap().join("examples/gateway");
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        if !path.exists() {
            let mut cargo = std::process::Command::new(env!("CARGO"));
            cargo.args(["build", "--features", "gateway", "--example", "gateway"]);
            assert!(cargo.status().unwrap().success());
        }
    });
    path
}

/// The example in the directory of the documents.
pub(super) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
    command
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
        let directory = Directory::new();
        let file = directory.write("lb.json", document.to_string());
        let mut command = command(&[file.to_str().unwrap()]);
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

    pub(super) fn write(&self, document: &Value) {
        fs::write(&self.file, document.to_string()).unwrap();
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
