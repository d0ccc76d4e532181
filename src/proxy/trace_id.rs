//! X-Amzn-Trace-Id: an id that a request keeps on its way through many services, by ALB's rules.
//!
//! What others trace by (W3C's traceparent and tracestate) passes as it is.

use std::{sync::Arc, time::UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{clock::Clock, rng::Rng};

const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// With more bytes of headers than this, fields of a trace id are not kept; ALB's 7 KB.
const HEADERS_KEEP_MAX: usize = 7 * 1024;

/// The longest Root that is kept, in bytes; those that are made have 35.
const ROOT_MAX: usize = 128;

/// Makes and updates X-Amzn-Trace-Id; a clone goes on with the same random numbers.
///
/// | received | sent |
/// |---|---|
/// | nothing | `Root=1-<8 hex digits of seconds since 1970>-<24 random hex digits>` |
/// | `Root=…;CalledFrom=app` | `Self=1-…-…;Root=…;CalledFrom=app` |
/// | `Self=…;Root=…` | the same with another Self |
/// | neither Root nor Self | a new Root, then what came |
/// | a Root that is none, or longer than 128 bytes | a new Root, then the rest |
/// | anything, in more than 7 KiB of headers | a new Root alone |
///
/// A Root consists of letters, digits and `-._:`. Several lines become one.
///
/// # Examples
///
/// ```
/// use pointsman::proxy::{HttpOptions, TraceIds};
///
/// let options = HttpOptions::new().trace_ids(TraceIds::new());
/// // In a test: the same ids each time, at tokio's time.
/// let options = HttpOptions::new()
///     .trace_ids(TraceIds::seeded(7).clock(pointsman::clock::Clock::tokio()));
/// # drop(options);
/// ```
#[derive(Clone, Debug)]
pub struct TraceIds {
    rng: Arc<Rng>,
    clock: Clock,
}

impl TraceIds {
    /// Makes ids that differ from process to process, by the system's clock.
    pub fn new() -> Self {
        Self { rng: Arc::new(Rng::from_entropy()), clock: Clock::system() }
    }

    /// Makes the same ids whenever it is given the same seed, but for their time.
    pub fn seeded(seed: u64) -> Self {
        Self { rng: Arc::new(Rng::seeded(seed)), clock: Clock::system() }
    }

    /// Sets the clock that ids are dated by.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Updates the id of a request whose headers are as they came, or makes one.
    pub(super) fn update(&self, headers: &mut HeaderMap) {
        let sent = match headers.contains_key(&X_AMZN_TRACE_ID) {
            true if size(headers) <= HEADERS_KEEP_MAX => self.updated(headers),
            _ => format!("Root={}", self.id()),
        };
        // Of what came only visible characters are kept, so it is a value.
        if let Ok(sent) = HeaderValue::try_from(sent) {
            headers.insert(X_AMZN_TRACE_ID, sent);
        }
    }

    fn updated(&self, headers: &HeaderMap) -> String {
        let lines = headers.get_all(&X_AMZN_TRACE_ID).iter().filter_map(|line| line.to_str().ok());
        let fields = lines.flat_map(|line| line.split(';')).map(str::trim);
        let (mut root, mut had_self, mut rest) = (None, false, String::new());
        for field in fields.filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            if name.eq_ignore_ascii_case("Root") {
                root = root.or(Some(value));
            } else if name.eq_ignore_ascii_case("Self") {
                had_self = true;
            } else {
                rest.push(';');
                rest.push_str(field);
            }
        }
        let root = root.filter(|root| is_root(root));
        let this = (had_self || root.is_some()).then(|| format!("Self={};", self.id()));
        let root = root.map_or_else(|| self.id(), str::to_owned);
        format!("{}Root={root}{rest}", this.unwrap_or_default())
    }

    fn id(&self) -> String {
        let time = self.clock.now();
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Eight digits last until 2106.
        let seconds = seconds as u32;
        let (high, low) = (self.rng.next_u64() as u32, self.rng.next_u64());
        format!("1-{seconds:08x}-{high:08x}{low:016x}")
    }
}

impl Default for TraceIds {
    fn default() -> Self {
        Self::new()
    }
}

fn is_root(root: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    (1..=ROOT_MAX).contains(&root.len()) && root.bytes().all(fits)
}

/// Returns how many bytes the fields have as lines of HTTP/1.1.
fn size(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    headers.iter().map(line).sum()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// Compares what is made of these lines; `<new>` stands for an id that was just made.
    fn check_among(mut headers: HeaderMap, received: &[&str], expected: &str) {
        for line in received {
            headers.append(X_AMZN_TRACE_ID, HeaderValue::from_str(line).unwrap());
        }
        TraceIds::seeded(7).update(&mut headers);
        let sent = headers.get_all(X_AMZN_TRACE_ID).iter().collect::<Vec<_>>();
        let [sent] = sent.as_slice() else { panic!("{sent:?}") };
        let mut sent = sent.to_str().unwrap().to_owned();
        // Ids are 35 characters, the second of them never the first again.
        let ids = TraceIds::seeded(7);
        for random in [0, 1].map(|_| ids.id()[10..].to_owned()) {
            if let Some(at) = sent.find(&random) {
                sent.replace_range(at - 10..at + 25, "<new>");
            }
        }
        assert_eq!(sent, expected, "{received:?}");
    }

    fn check(received: &[&str], expected: &str) {
        check_among(HeaderMap::new(), received, expected);
    }

    const ROOT: &str = "Root=1-67891233-abcdef012345678912345678";

    #[test]
    fn a_request_without_an_id_gets_one() {
        check(&[], "Root=<new>");
        check(&[""], "Root=<new>");
    }

    #[test]
    fn an_id_has_a_time_and_random_digits() {
        let ids = TraceIds::seeded(1);
        let id = ids.id();
        let parts = id.split('-').collect::<Vec<_>>();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [1, 8, 24]);
        let seconds = u64::from_str_radix(parts[1], 16).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((now - 60..=now).contains(&seconds), "{id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_digit() || b"-abcdef".contains(&byte)));
        let digits = |ids: &TraceIds| ids.id()[10..].to_owned();
        assert_ne!(digits(&ids), digits(&ids.clone()), "a clone goes on with the same numbers");
        assert_eq!(digits(&TraceIds::seeded(1)), parts[1..].join("-")[8..]);
    }

    #[test]
    fn vector_32_self_is_inserted_before_what_came() {
        check(&[ROOT], &format!("Self=<new>;{ROOT}"));
        check(&["Root=1-x-y;CalledFrom=app"], "Self=<new>;Root=1-x-y;CalledFrom=app");
        check(&["CalledFrom=app ; Root=1-x-y;;a="], "Self=<new>;Root=1-x-y;CalledFrom=app;a=");
    }

    #[test]
    fn self_is_replaced() {
        check(&[&format!("Self=1-a-b;{ROOT}")], &format!("Self=<new>;{ROOT}"));
        check(&[&format!("{ROOT};Self=1-a-b;x=1;self=2")], &format!("Self=<new>;{ROOT};x=1"));
        check(&["Self=1-a-b;x=1"], "Self=<new>;Root=<new>;x=1");
    }

    #[test]
    fn fields_without_a_root_get_one() {
        check(&["CalledFrom=app;x=1"], "Root=<new>;CalledFrom=app;x=1");
        check(&["garbage"], "Root=<new>;garbage");
    }

    #[test]
    fn a_root_that_is_none_is_replaced() {
        for root in ["", "<script>", "a b", "a\"b", "a,b", &"a".repeat(ROOT_MAX + 1)] {
            check(&[&format!("Root={root};x=1")], "Root=<new>;x=1");
        }
        check(&["Root"], "Root=<new>");
        check(&["Root=caf\u{e9}"], "Root=<new>");
        let longest = "a".repeat(ROOT_MAX);
        check(&[&format!("Root={longest}")], &format!("Self=<new>;Root={longest}"));
    }

    #[test]
    fn several_lines_and_roots_become_one() {
        check(&[ROOT, "x=1"], &format!("Self=<new>;{ROOT};x=1"));
        check(&[ROOT, "Root=1-2-3", "root=4"], &format!("Self=<new>;{ROOT}"));
    }

    #[test]
    fn among_too_much_nothing_is_kept() {
        let among = |bytes: usize, expected: &str| {
            let mut headers = HeaderMap::new();
            let id = "x-amzn-trace-id: ".len() + ROOT.len() + 2;
            let filled = bytes - id - "x: \r\n".len();
            headers.insert("x", HeaderValue::from_str(&"a".repeat(filled)).unwrap());
            check_among(headers, &[ROOT], expected);
        };
        among(HEADERS_KEEP_MAX, &format!("Self=<new>;{ROOT}"));
        among(HEADERS_KEEP_MAX + 1, "Root=<new>");
    }
}
