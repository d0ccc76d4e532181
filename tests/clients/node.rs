//! http with an agent, fetch, and WebSocket of Node's own.

use super::{
    site::{ANSWERS, Site},
    support::programs::node,
};

/// How many connections may be opened for 18 requests. Two are enough, but Node opens another when one
/// is not yet back as the next request comes, whatever server it asks.
const CONNECTIONS_MAX: usize = 6;

/// Asks all by `ask(method, path, body, fields)`, which each way of asking defines for itself and
/// which hands out a status, fields and a body as a stream; then ends the process.
const ASKING: &str = r##"
const { createHash } = require('node:crypto');
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function whole(...asked) {
  const { status, fields, body } = await ask(...asked);
  const chunks = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  return { status, fields, bytes: Buffer.concat(chunks) };
}

async function* cut(bytes, length) {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

async function hello() {
  const { status, bytes } = await whole('GET', '/hello');
  console.log('get', status, version, `${bytes}`);
}

async function all() {
  await hello();
  const head = await whole('HEAD', '/hello');
  console.log('head', head.status, head.fields['content-length'], head.bytes.length);
  const chunks = (async function* () { yield* ['in ', 'several ', 'chunks'].map((text) => Buffer.from(text)); })();
  for (const body of [Buffer.from('with a length'), chunks]) {
    const { status, fields, bytes } = await whole('POST', '/echo', body);
    console.log('post', status, fields['x-framing'], `${bytes}`);
  }
  const large = await whole('GET', '/large');
  console.log('large', large.status, large.bytes.length, sha256(large.bytes));
  const upload = await whole('PUT', '/echo', cut(large.bytes, 50_000));
  console.log('upload', upload.status, upload.fields['x-framing'], sha256(upload.bytes));
  const range = await whole('GET', '/large', undefined, { range: 'bytes=97-122' });
  console.log('range', range.status, `${range.bytes}`);
  for (const path of ['/missing', '/dead', '/moved', '/old']) {
    const { status, bytes } = await whole('GET', path);
    console.log(path, status, `${bytes}`.trim());
  }
  const events = await ask('GET', '/events');
  for await (const chunk of events.body) {
    console.log('event', Buffer.from(chunk).toString().trim());
    await whole('POST', '/acknowledge');
  }
  await hello();
}

all().then(() => process.exit(0));
"##;

/// An agent that keeps its connections; redirects are followed by hand.
const HTTP: &str = r##"
const http = require('node:http');
const { pipeline, Readable } = require('node:stream');
const agent = new http.Agent({ keepAlive: true });
let version;

async function ask(method, path, body, headers = {}) {
  const here = new URL(path, `http://${process.argv[1]}`);
  const request = http.request(here, { method, headers, agent });
  const answered = new Promise((resolve, reject) => request.on('response', resolve).on('error', reject));
  if (body === undefined || Buffer.isBuffer(body)) request.end(body);
  else pipeline(Readable.from(body), request, () => {});
  const response = await answered;
  const { statusCode, headers: fields } = response;
  version = response.httpVersion.replace('.', '');
  if (fields.location === undefined) return { status: statusCode, fields, body: response };
  response.resume();
  return ask(method, new URL(fields.location, here));
}
"##;

/// fetch, which keeps connections and follows redirects by itself.
const FETCH: &str = r##"
const version = 11;

async function ask(method, path, body, headers = {}) {
  const here = new URL(path, `http://${process.argv[1]}`);
  const response = await fetch(here, { method, headers, body, duplex: 'half' });
  return { status: response.status, fields: Object.fromEntries(response.headers), body: response.body };
}
"##;

/// An upgrade that is asked for by hand: what Node hands out is the bare connection.
const UPGRADE: &str = r##"
const http = require('node:http');
const headers = {
  connection: 'Upgrade', upgrade: 'websocket',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13',
};
const request = http.get(`http://${process.argv[1]}/chat`, { headers });
request.on('upgrade', (response, socket, first) => {
  console.log(response.statusCode, response.headers['sec-websocket-accept']);
  // Text of 5 bytes, masked by zeros; what comes back is not masked.
  socket.write(Buffer.concat([Buffer.from([0x81, 0x85, 0, 0, 0, 0]), Buffer.from('hello')]));
  let got = first;
  socket.on('data', (chunk) => {
    got = Buffer.concat([got, chunk]);
    if (got.length < 7) return;
    console.log(got.readUInt16BE(), `${got.subarray(2)}`);
    socket.destroy();
  });
});
"##;

const WEBSOCKET: &str = r##"
const socket = new WebSocket(`ws://${process.argv[1]}/chat`);
socket.binaryType = 'arraybuffer';
const sent = ['hello', new Uint8Array(1_000_000).fill(7)];
socket.onopen = () => sent.forEach((message) => socket.send(message));
socket.onmessage = ({ data }) => {
  const message = sent.shift();
  const same = typeof data === 'string' ? data === message : Buffer.from(data).equals(message);
  console.log(typeof data, same);
  if (sent.length === 0) socket.close(1000, 'enough');
};
socket.onclose = ({ code, wasClean }) => console.log(code, wasClean);
socket.onerror = ({ message }) => console.log('failed', message);
"##;

#[tokio::test]
async fn node_gets_what_it_asks_for() {
    for way in [HTTP, FETCH] {
        let site = Site::new().await;
        let (script, address) = (format!("{way}{ASKING}"), site.address.to_string());
        let arguments = ["--no-warnings", "-e", &script, &address];
        let Some(printed) = node(&arguments).await else { return };
        assert_eq!(printed, ANSWERS.replace("{version}", "11"), "{way}");
        assert!(site.opened() <= CONNECTIONS_MAX, "{} connections: {way}", site.opened());
        site.at_rest().await;
    }
}

#[tokio::test]
async fn node_takes_a_connection_over() {
    let site = Site::new().await;
    let Some(printed) = node(&["-e", UPGRADE, &site.address.to_string()]).await else { return };
    // The key and what accepts it are those of RFC 6455 §1.3; 0x8105 is text of 5 bytes.
    assert_eq!(printed, "101 s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n33029 hello\n");
    site.at_rest().await;
}

#[tokio::test]
async fn node_opens_a_websocket_and_closes_it() {
    // Node 22 has it, Node 20 behind a flag, and those before not at all.
    let flag = "process.allowedNodeEnvironmentFlags.has('--experimental-websocket')";
    let way = format!(
        "globalThis.WebSocket ? '--no-warnings' : {flag} ? '--experimental-websocket' : ''"
    );
    let Some(way) = node(&["-p", &way]).await else { return };
    if way.trim().is_empty() {
        println!("skipped: this node has no WebSocket");
        return;
    }
    let site = Site::new().await;
    let arguments = ["--no-warnings", way.trim(), "-e", WEBSOCKET, &site.address.to_string()];
    let printed = node(&arguments).await.unwrap();
    assert_eq!(printed, "string true\nobject true\n1000 true\n");
    site.at_rest().await;
}
