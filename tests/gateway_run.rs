//! Documents that run, over real sockets: in this process, and as the example that is a program.

mod support;

#[path = "gateway/messages.rs"]
mod messages;
#[path = "gateway/process.rs"]
mod process;
#[path = "gateway/reload.rs"]
mod reload;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::socket::Socket;

/// A group of these targets.
fn group(name: &str, targets: &[SocketAddr]) -> Value {
    let target = |target: &SocketAddr| json!({"Id": target.ip(), "Port": target.port()});
    json!({
        "TargetGroupName": name, "Protocol": "HTTP", "Port": 80,
        "Targets": targets.iter().map(target).collect::<Vec<_>>()
    })
}

fn forward(group: &str) -> Value {
    json!({"Type": "forward", "TargetGroupArn": group})
}

/// Answers with a text.
fn fixed(text: &str) -> Value {
    json!({
        "Type": "fixed-response",
        "FixedResponseConfig": {
            "StatusCode": "200", "ContentType": "text/plain", "MessageBody": text
        }
    })
}

/// A rule for a path.
fn rule(priority: usize, path: &str, action: &Value) -> Value {
    json!({
        "Priority": priority,
        "Conditions": [{"Field": "path-pattern", "Values": [path]}],
        "Actions": [action]
    })
}

fn listener(port: u16, default: &Value, rules: &[Value]) -> Value {
    json!({"Protocol": "HTTP", "Port": port, "DefaultActions": [default], "Rules": rules})
}

fn document(groups: &[Value], listeners: &[Value]) -> Value {
    json!({"TargetGroups": groups, "Listeners": listeners})
}

/// Asks on a connection that stays; the head and the body.
async fn ask(socket: &mut Socket, path: &str) -> (String, String) {
    socket.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await.unwrap();
    socket.answer().await
}

/// Asks on a connection of its own; the body.
async fn text(address: SocketAddr, path: &str) -> String {
    ask(&mut Socket::connect(address).await, path).await.1
}
