//! Documents that run, over real sockets: in this process, and as the example that is a program.

mod support;

#[path = "gateway/backends.rs"]
mod backends;
#[path = "gateway/child.rs"]
mod child;
#[path = "gateway/descriptors.rs"]
mod descriptors;
#[path = "gateway/messages.rs"]
mod messages;
#[path = "gateway/process.rs"]
mod process;
#[path = "gateway/reload.rs"]
mod reload;
#[path = "gateway/vectors.rs"]
mod vectors;

use std::net::SocketAddr;

use child::Gateway;
use serde_json::{Value, json};
use support::{programs::Port, socket::Socket};

/// A group of these targets.
fn group(name: &str, targets: &[SocketAddr]) -> Value {
    let target = |target: &SocketAddr| json!({"Id": target.ip(), "Port": target.port()});
    json!({
        "TargetGroupName": name, "Protocol": "HTTP", "Port": 80,
        "Targets": targets.iter().map(target).collect::<Vec<_>>()
    })
}

/// A group whose clients have sessions.
fn sticky(name: &str, targets: &[SocketAddr]) -> Value {
    let mut group = group(name, targets);
    group["TargetGroupAttributes"] = json!([{"Key": "stickiness.enabled", "Value": "true"}]);
    group
}

/// A group whose targets are asked for their health at /health, as often as a document can say.
fn checked(name: &str, targets: &[SocketAddr]) -> Value {
    let mut group = group(name, targets);
    group["HealthCheckPath"] = json!("/health");
    group["HealthCheckIntervalSeconds"] = json!(5);
    group["HealthCheckTimeoutSeconds"] = json!(4);
    group
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
    when(priority, &json!({"Field": "path-pattern", "Values": [path]}), action)
}

/// A rule for what fulfils a condition.
fn when(priority: usize, condition: &Value, action: &Value) -> Value {
    json!({"Priority": priority, "Conditions": [condition], "Actions": [action]})
}

fn listener(port: u16, default: &Value, rules: &[Value]) -> Value {
    json!({"Protocol": "HTTP", "Port": port, "DefaultActions": [default], "Rules": rules})
}

fn document(groups: &[Value], listeners: &[Value]) -> Value {
    json!({"TargetGroups": groups, "Listeners": listeners})
}

/// Runs the example with a listener that has only a default action.
async fn start(groups: &[Value], default: &Value) -> (Gateway, Port) {
    let port = Port::reserve();
    let lb = document(groups, &[listener(port.address.port(), default, &[])]);
    (Gateway::start(&lb, &[&port]).await, port)
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
