//! http.client and urllib of Python's own library.

use super::{
    site::{ANSWERS, Site},
    support::programs::python_prints,
};

/// One connection for all; where redirects lead is asked for by hand.
const HTTP_CLIENT: &str = r##"
import hashlib, http.client, sys, urllib.parse
host = sys.argv[1]
connection = http.client.HTTPConnection(host, timeout=15)

def ask(method, path, body=None, **fields):
    connection.request(method, path, body, fields, encode_chunked=body is not None)
    response = connection.getresponse()
    return response, response.read()

def sha256(body):
    return hashlib.sha256(body).hexdigest()

response, body = ask("GET", "/hello")
print("get", response.status, response.version, body.decode())
response, body = ask("HEAD", "/hello")
print("head", response.status, response.getheader("content-length"), len(body))
response, body = ask("POST", "/echo", b"with a length")
print("post", response.status, response.getheader("x-framing"), body.decode())
response, body = ask("POST", "/echo", iter([b"in ", b"several ", b"chunks"]))
print("post", response.status, response.getheader("x-framing"), body.decode())
response, large = ask("GET", "/large")
print("large", response.status, len(large), sha256(large))
pieces = (large[at:at + 50_000] for at in range(0, len(large), 50_000))
response, body = ask("PUT", "/echo", pieces)
print("upload", response.status, response.getheader("x-framing"), sha256(body))
response, body = ask("GET", "/large", Range="bytes=97-122")
print("range", response.status, body.decode())
for path in ["/missing", "/dead"]:
    response, body = ask("GET", path)
    print(path, response.status, body.decode().strip())
for path in ["/moved", "/old"]:
    to = urllib.parse.urljoin(f"http://{host}{path}", ask("GET", path)[0].getheader("location"))
    response, body = ask("GET", urllib.parse.urlsplit(to).path)
    print(path, response.status, body.decode())

acknowledging = http.client.HTTPConnection(host, timeout=15)
connection.request("GET", "/events")
response = connection.getresponse()
for line in response:
    if line.startswith(b"data: "):
        print("event", line.decode().strip())
        acknowledging.request("POST", "/acknowledge")
        acknowledging.getresponse().read()
response, body = ask("GET", "/hello")
print("get", response.status, response.version, body.decode())
"##;

/// A connection for each request, which says `Connection: close`, and redirects that are followed.
const URLLIB: &str = r##"
import hashlib, sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen
here = "http://" + sys.argv[1]

def ask(path, *arguments, **named):
    try:
        return urlopen(Request(here + path, *arguments, **named), timeout=15)
    except HTTPError as error:
        return error

def sha256(body):
    return hashlib.sha256(body).hexdigest()

def posted(body, **fields):
    response = ask("/echo", body, fields)
    print("post", response.status, response.headers["x-framing"], response.read().decode())

with ask("/hello") as response:
    print("get", response.status, response.version, response.read().decode())
with ask("/hello", method="HEAD") as response:
    print("head", response.status, response.headers["content-length"], len(response.read()))
posted(b"with a length")
posted(iter([b"in ", b"several ", b"chunks"]))
with ask("/large") as response:
    large = response.read()
    print("large", response.status, len(large), sha256(large))
pieces = (large[at:at + 50_000] for at in range(0, len(large), 50_000))
with ask("/echo", pieces, method="PUT") as response:
    print("upload", response.status, response.headers["x-framing"], sha256(response.read()))
with ask("/large", headers={"Range": "bytes=97-122"}) as response:
    print("range", response.status, response.read().decode())
for path in ["/missing", "/dead", "/moved", "/old"]:
    with ask(path) as response:
        print(path, response.status, response.read().decode().strip())
with ask("/events") as response:
    for line in response:
        if line.startswith(b"data: "):
            print("event", line.decode().strip())
            ask("/acknowledge", b"").read()
with ask("/hello") as response:
    print("get", response.status, response.version, response.read().decode())
"##;

#[tokio::test]
async fn python_gets_what_it_asks_for() {
    for (script, opened) in [(HTTP_CLIENT, 2), (URLLIB, 18)] {
        let site = Site::new().await;
        let Some(printed) = python_prints(script, &[&site.address.to_string()]).await else {
            return;
        };
        assert_eq!(printed, ANSWERS.replace("{version}", "11"));
        assert_eq!(site.opened(), opened);
        site.at_rest().await;
    }
}

/// It sends all before it reads anything.
const REFUSED: &str = r##"
import http.client, sys
for _ in range(10):
    connection = http.client.HTTPConnection(sys.argv[1], timeout=15)
    connection.request("PUT", "/refuse", b"x" * 20_000_000)
    response = connection.getresponse()
    print(response.status, response.getheader("connection"), response.read())
"##;

#[tokio::test]
async fn python_learns_that_its_upload_is_refused() {
    let site = Site::new().await;
    let Some(printed) = python_prints(REFUSED, &[&site.address.to_string()]).await else { return };
    assert_eq!(printed, "413 close b''\n".repeat(10));
    site.at_rest().await;
}
