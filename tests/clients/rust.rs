//! reqwest, as Rust's applications have it, and tokio-tungstenite.

use axum::body::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::{Method, header};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Client, Response};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::{
    site::{Site, large},
    support::soon,
};

async fn text(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn reqwest_gets_what_it_asks_for_over_one_connection() {
    let site = Site::new().await;
    let client = Client::new();
    let ask =
        async |request: reqwest::RequestBuilder| soon("an answer", request.send()).await.unwrap();
    for (path, expected) in [
        ("/hello", (200, "hello")),
        ("/moved", (200, "hello")),
        ("/old", (200, "hello")),
        ("/missing", (404, "nothing here")),
        ("/dead", (502, "502 Bad Gateway\n")),
    ] {
        let (status, body) = text(ask(client.get(site.uri(path))).await).await;
        assert_eq!((status, &*body), expected, "{path}");
    }

    let head = ask(client.head(site.uri("/hello"))).await;
    assert_eq!((head.status().as_u16(), field(&head, "content-length")), (200, "5"));
    assert_eq!(head.text().await.unwrap(), "");

    let options = ask(client.request(Method::OPTIONS, site.uri("/missing"))).await;
    assert_eq!(text(options).await, (404, "nothing here".into()));

    let range = client.get(site.uri("/large")).header(header::RANGE, "bytes=97-122");
    assert_eq!(text(ask(range).await).await, (206, "abcdefghijklmnopqrstuvwxyz".into()));

    let large = large();
    let whole = ask(client.get(site.uri("/large"))).await.bytes().await.unwrap();
    assert!(whole == large, "changed on the way");

    let length = large.len().to_string();
    let pieces = large.chunks(70_000).map(Bytes::copy_from_slice).collect::<Vec<_>>();
    let pieces = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Frame::data(piece)));
    let chunked = reqwest::Body::wrap(StreamBody::new(stream::iter(pieces)));
    for (framing, body) in [(&*length, large.clone().into()), ("chunked", chunked)] {
        let back = ask(client.post(site.uri("/echo")).body(body)).await;
        assert_eq!((back.status().as_u16(), field(&back, "x-framing")), (200, framing));
        assert!(back.bytes().await.unwrap() == large, "changed on the way");
    }
    assert_eq!(site.opened(), 1);
    site.at_rest().await;
}

#[tokio::test]
async fn reqwest_hears_events_as_they_are_sent() {
    let site = Site::new().await;
    let client = Client::new();
    let mut events = client.get(site.uri("/events")).send().await.unwrap();
    assert_eq!(field(&events, "content-type"), "text/event-stream");
    let mut heard = Vec::new();
    while let Some(chunk) = soon("an event", events.chunk()).await.unwrap() {
        heard.push(String::from_utf8(chunk.to_vec()).unwrap());
        let acknowledged = client.post(site.uri("/acknowledge")).send();
        assert_eq!(
            text(soon("an answer", acknowledged).await.unwrap()).await,
            (200, String::new())
        );
    }
    assert_eq!(heard, ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"]);
    assert_eq!(site.opened(), 2);
    site.at_rest().await;
}

#[tokio::test]
async fn many_clients_of_reqwest_at_once_get_each_its_own() {
    let site = Site::new().await;
    let client = Client::new();
    let asking = (0..64).map(async |number| {
        let body = format!("number {number} ").repeat(1000 * (number % 5));
        let back = client.post(site.uri("/echo")).body(body.clone()).send();
        assert!(text(back.await.unwrap()).await == (200, body), "not what number {number} sent");
    });
    soon("all answers", futures_util::future::join_all(asking)).await;
    site.at_rest().await;
}

#[tokio::test]
async fn tungstenite_opens_a_websocket_and_closes_it() {
    let site = Site::new().await;
    let uri = format!("ws://{}/chat", site.address);
    let (mut socket, _) = soon("a WebSocket", connect_async(uri)).await.unwrap();
    for message in [Message::text("hello"), Message::binary(large())] {
        socket.send(message.clone()).await.unwrap();
        assert!(soon("an echo", socket.next()).await.unwrap().unwrap() == message);
    }
    socket.close(None).await.unwrap();
    while soon("the end", socket.next()).await.is_some_and(|message| message.is_ok()) {}
    drop(socket);
    site.at_rest().await;
}
