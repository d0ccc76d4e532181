//! curl, as people call it by hand and in scripts.

use std::{fs::File, process::Stdio};

use super::{
    site::{LARGE, Site, large},
    support::programs::{Directory, curl, curl_reading},
};

/// A row asks by these arguments, in which `{}` is the site, and prints all of these.
type Row = (&'static [&'static str], &'static [&'static str]);

const STATUS: &str = " %{http_code} over HTTP/%{http_version}";
const CONNECTIONS: &str = " %{http_code} after %{num_connects}; ";

#[tokio::test]
async fn curl_gets_what_it_asks_for() {
    let rows: &[Row] = &[
        (&["-w", STATUS, "{}/hello"], &["hello 200 over HTTP/1.1"]),
        (
            &["-w", STATUS, "{}/seen?a=%20b&c"],
            &["HTTP/1.1 /seen?a=%20b&c 127.0.0.1 curl/", " 200 "],
        ),
        (&["-0", "-w", STATUS, "{}/hello"], &["hello 200 over HTTP/1"]),
        (&["-0", "{}/seen"], &["HTTP/1.1 /seen 127.0.0.1 curl/"]),
        (&["-0", "-i", "-d", "a=b", "{}/echo"], &["\r\nx-framing: 3\r\n", "\r\n\r\na=b"]),
        (&["-i", "-d", "a=b", "{}/echo"], &["\r\nx-framing: 3\r\n", "\r\n\r\na=b"]),
        (&["-i", "-d", "", "{}/echo"], &["\r\nx-framing: 0\r\n", "\r\ncontent-length: 0\r\n"]),
        (
            &["-i", "-d", "a=b", "-H", "Transfer-Encoding: chunked", "{}/echo"],
            &["\r\nx-framing: chunked\r\n", "\r\n\r\na=b"],
        ),
        (&["-F", "field=value", "{}/echo"], &["name=\"field\"\r\n\r\nvalue\r\n--"]),
        (
            &["-w", CONNECTIONS, "{}/hello", "{}/missing", "{}/dead", "{}/hello"],
            &["hello 200 after 1; nothing here 404 after 0; ", " 502 after 0; hello 200 after 0; "],
        ),
        (
            &["-0", "-w", CONNECTIONS, "{}/hello", "{}/hello"],
            &["hello 200 after 1; hello 200 after 1; "],
        ),
        (
            &["-I", "-w", CONNECTIONS, "{}/hello", "{}/hello"],
            &["HTTP/1.1 200 OK\r\n", "\r\ncontent-length: 5\r\n", "\r\n\r\n 200 after 0; "],
        ),
        (
            &["-i", "-r", "97-122", "{}/large"],
            &[
                "HTTP/1.1 206 Partial Content\r\n",
                "\r\ncontent-range: bytes 97-122/5242880\r\n",
                "\r\ncontent-length: 26\r\n",
                "\r\n\r\nabcdefghijklmnopqrstuvwxyz",
            ],
        ),
        (
            &["-i", "-X", "OPTIONS", "--request-target", "*", "{}"],
            &["HTTP/1.1 204 No Content\r\n", "\r\nallow: GET, POST\r\n"],
        ),
        (&["-i", "{}/moved"], &["HTTP/1.1 307 ", "\r\nlocation: /hello\r\n"]),
        (&["-i", "{}/old"], &["HTTP/1.1 302 ", "\r\nlocation: {}/hello\r\n"]),
        (&["-L", "{}/moved"], &["hello"]),
        (&["-L", "{}/old"], &["hello"]),
        // As a client of a forward proxy asks.
        (&["-x", "{}", "http://a.test/seen"], &["HTTP/1.1 /seen 127.0.0.1 curl/"]),
    ];
    let site = Site::new().await;
    for (arguments, expected) in rows {
        let filled = |text: &str| text.replace("{}", &site.uri(""));
        let arguments = arguments.iter().map(|argument| filled(argument)).collect::<Vec<_>>();
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let Some(printed) = curl(&arguments).await else { return };
        for part in *expected {
            assert!(printed.contains(&filled(part)), "{arguments:?}: {part:?} in {printed}");
        }
    }
    site.at_rest().await;
}

#[tokio::test]
async fn curl_uploads_when_it_is_told_to_go_on() {
    let site = Site::new().await;
    let directory = Directory::new();
    let bytes = &large()[..2 * 1024 * 1024];
    let (file, back) = (directory.write("file", bytes), directory.0.join("back"));
    let (file, back) = (file.to_str().unwrap(), back.to_str().unwrap());
    let echo = &*site.uri("/echo");
    // Who is not told must wait, for longer than the test does.
    let patient = ["--expect100-timeout", "300", "-o", back, "--stderr", "-", "-v"];
    let upload = ["-H", "Expect: 100-continue", "-T"];

    for (input, framing) in [(file, "2097152"), ("-", "chunked")] {
        let arguments = [&patient[..], &upload, &[input, echo]].concat();
        let stdin = Stdio::from(File::open(file).unwrap());
        let Some(said) = curl_reading(&arguments, stdin).await else { return };
        let places =
            ["> PUT /echo ", "> Expect: 100-continue", "< HTTP/1.1 100 ", "< HTTP/1.1 200 "]
                .map(|line| said.find(line).unwrap_or_else(|| panic!("{line} in {said}")));
        assert!(places.is_sorted(), "{said}");
        assert!(said.contains(&format!("< x-framing: {framing}")), "{said}");
        assert!(std::fs::read(back).unwrap() == bytes, "{input} came back changed");
    }

    // What a rule answers needs no body, and nobody is told to send one.
    let answered = [&patient[..], &upload, &[file, "-w", "%{http_code} after %{size_upload}"]];
    let said = curl(&[&answered.concat()[..], &[&site.uri("/old")]].concat()).await.unwrap();
    assert!(said.contains("302 after 0") && !said.contains("< HTTP/1.1 100 "), "{said}");
    site.at_rest().await;
}

#[tokio::test]
async fn curl_learns_that_its_upload_is_refused() {
    let site = Site::new().await;
    let directory = Directory::new();
    let file = directory.write("file", large());
    let (file, refuse) = (file.to_str().unwrap(), &*site.uri("/refuse"));
    for expect in ["Expect:", "Expect: 100-continue"] {
        for _ in 0..10 {
            let arguments = ["-w", "%{http_code}", "-H", expect, "-T", file, refuse];
            let Some(status) = curl(&arguments).await else { return };
            assert_eq!(status, "413", "{expect}");
        }
    }
    site.at_rest().await;
}

#[tokio::test]
async fn curl_downloads_all_and_what_is_missing() {
    let site = Site::new().await;
    let directory = Directory::new();
    let (large, uri) = (large(), &*site.uri("/large"));
    let begun = directory.write("begun", &large[..LARGE / 3]);
    let begun = begun.to_str().unwrap();
    let whole = directory.0.join("whole");
    let whole = whole.to_str().unwrap();
    let ways: [&[&str]; 4] = [
        &["-o", whole, uri],
        &["-0", "-o", whole, uri],
        &["-o", whole, "--limit-rate", "20M", uri],
        &["-C", "-", "-o", begun, uri],
    ];
    for arguments in ways {
        if curl(arguments).await.is_none() {
            return;
        }
        let file = if arguments.contains(&begun) { begun } else { whole };
        assert!(std::fs::read(file).unwrap() == large, "{arguments:?}");
    }
    site.at_rest().await;
}

#[tokio::test]
async fn what_is_compressed_is_left_as_it_is() {
    let site = Site::new().await;
    let directory = Directory::new();
    let uri = &*site.uri("/text");
    let plain = "so much of it ".repeat(1000);
    let Some(identity) = curl(&["-i", uri]).await else { return };
    assert!(!identity.contains("content-encoding") && identity.ends_with(&plain), "{identity}");
    let decoded = curl(&["-i", "--compressed", uri]).await.unwrap();
    assert!(decoded.contains("\r\ncontent-encoding: gzip\r\n") && decoded.ends_with(&plain));
    let mut files = Vec::new();
    for uri in [uri, &format!("http://{}/text", site.target)] {
        let file = directory.0.join("compressed");
        let gzip = ["-H", "Accept-Encoding: gzip", "-o", file.to_str().unwrap(), uri];
        curl(&gzip).await.unwrap();
        files.push(std::fs::read(file).unwrap());
    }
    assert!(files[0] == files[1] && files[0].starts_with(&[0x1f, 0x8b]), "not the target's bytes");
    site.at_rest().await;
}
