//! Whole tables against the plainest evaluation there could be.

use http::Request;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

/// Paths as they come, and in the normal form.
const PATHS: &[(&str, &str)] = &[
    ("/", "/"),
    ("/a", "/a"),
    ("/A", "/A"),
    ("/%61", "/a"),
    ("/x/../a/b", "/a/b"),
    ("/a//b", "/a//b"),
    ("/a%2fb", "/a%2Fb"),
];
/// Hosts as they come, and as they are compared.
const HOSTS: &[(Option<&str>, Option<&str>)] =
    &[(None, None), (Some("a.com:80"), Some("a.com")), (Some("X.A.com."), Some("x.a.com"))];
/// Queries as they come, and their pairs.
const QUERIES: &[(&str, &[(&str, &str)])] = &[
    ("", &[]),
    ("?", &[]),
    ("?v=1", &[("v", "1")]),
    ("?v=2&&V=%31", &[("v", "2"), ("v", "1")]),
    ("?v=1;x", &[("v", "1;x")]),
    ("?x", &[("x", "")]),
];
const HEADERS: &[&[&str]] = &[&[], &["one"], &["two", "ONE"], &["one, two"]];
const METHODS: &[&str] = &["GET", "POST"];
const CLIENTS: &[Option<[u8; 4]>] = &[None, Some([10, 0, 0, 1]), Some([10, 9, 0, 1])];

/// A condition, as the oracle reads it.
#[derive(Clone, Debug)]
enum Asks {
    Path(Vec<&'static str>),
    Host(Vec<&'static str>),
    Header(Vec<&'static str>),
    Query(Option<&'static str>, &'static str),
    Method(Vec<&'static str>),
    /// The first so many bytes of 10.0.0.0.
    Client(usize),
    Says(bool),
    Panics,
}

#[derive(Clone, Debug)]
struct Asked {
    path: (&'static str, &'static str),
    host: (Option<&'static str>, Option<&'static str>),
    query: (&'static str, &'static [(&'static str, &'static str)]),
    header: &'static [&'static str],
    method: &'static str,
    client: Option<[u8; 4]>,
}

/// All the ends a pattern can reach, byte by byte.
fn glob(pattern: &str, subject: &str) -> bool {
    let mut reached = vec![false; subject.len() + 1];
    reached[0] = true;
    for wanted in pattern.bytes() {
        let mut next = vec![false; subject.len() + 1];
        for i in 0..=subject.len() {
            next[i] = match wanted {
                b'*' => reached[..=i].contains(&true),
                _ if i == 0 => false,
                b'?' => reached[i - 1],
                wanted => reached[i - 1] && subject.as_bytes()[i - 1] == wanted,
            };
        }
        reached = next;
    }
    reached[subject.len()]
}

impl Asks {
    fn condition(&self) -> Condition {
        match self.clone() {
            Self::Path(values) => Condition::path_pattern(values),
            Self::Host(values) => Condition::host_header(values),
            Self::Header(values) => Condition::http_header("X-H", values),
            Self::Query(Some(key), value) => Condition::query_string([QueryPair::new(key, value)]),
            Self::Query(None, value) => Condition::query_string([QueryPair::any_key(value)]),
            Self::Method(values) => Condition::http_request_method(values),
            Self::Client(bytes) => Condition::source_ip([format!("10.0.0.0/{}", 8 * bytes)]),
            Self::Says(verdict) => Condition::custom("says", from_fn(move |_| verdict)),
            Self::Panics => Condition::custom(
                "panics",
                from_fn(|_| std::panic::resume_unwind(Box::new("as it was told to"))),
            ),
        }
    }

    fn holds(&self, asked: &Asked) -> Result<bool, Kind> {
        let any = |patterns: &[&str], subject: &str| {
            patterns.iter().any(|pattern| glob(&pattern.to_lowercase(), &subject.to_lowercase()))
        };
        Ok(match self {
            Self::Path(patterns) => patterns.iter().any(|pattern| glob(pattern, asked.path.1)),
            Self::Host(patterns) => asked.host.1.is_some_and(|host| any(patterns, host)),
            Self::Header(patterns) => asked.header.iter().any(|line| any(patterns, line)),
            Self::Query(key, value) => asked
                .query
                .1
                .iter()
                .any(|(k, v)| key.is_none_or(|key| any(&[key], k)) && any(&[value], v)),
            Self::Method(methods) => methods.contains(&asked.method),
            Self::Client(bytes) => {
                asked.client.ok_or(Kind::NoPeer)?[..*bytes] == [10, 0, 0, 0][..*bytes]
            }
            Self::Says(verdict) => *verdict,
            Self::Panics => return Err(Kind::Panicked),
        })
    }
}

/// The rule that decides, or what goes wrong and in which rule.
fn naive(
    rules: &[(u32, Vec<Asks>)],
    default: bool,
    asked: &Asked,
) -> Result<Option<u32>, (Kind, Option<u32>)> {
    let mut rules = rules.to_vec();
    rules.sort_by_key(|(priority, _)| *priority);
    for (priority, conditions) in rules {
        let mut all = true;
        for condition in conditions {
            all = all && condition.holds(asked).map_err(|kind| (kind, Some(priority)))?;
        }
        if all {
            return Ok(Some(priority));
        }
    }
    if default { Ok(None) } else { Err((Kind::NoRule, None)) }
}

fn asks() -> impl Strategy<Value = Asks> {
    let some = |values: &'static [&'static str]| vec(select(values), 1..3);
    prop_oneof![
        6 => some(&["/a", "/a*", "/*/b", "/?", "*%2F*", "*"]).prop_map(Asks::Path),
        3 => some(&["a.com", "*.A.com", "?.com", "*"]).prop_map(Asks::Host),
        3 => some(&["one", "*two", "???"]).prop_map(Asks::Header),
        3 => (option::of(select(&["v", "?"][..])), select(&["1", "*", "1?x"][..]))
            .prop_map(|(key, value)| Asks::Query(key, value)),
        2 => some(METHODS).prop_map(Asks::Method),
        3 => (0usize..4).prop_map(Asks::Client),
        3 => any::<bool>().prop_map(Asks::Says),
        1 => Just(Asks::Panics),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let parts = (
        select(PATHS),
        select(HOSTS),
        select(QUERIES),
        select(HEADERS),
        select(METHODS),
        select(CLIENTS),
    );
    parts.prop_map(|(path, host, query, header, method, client)| Asked {
        path,
        host,
        query,
        header,
        method,
        client,
    })
}

fn rules() -> impl Strategy<Value = Vec<(u32, Vec<Asks>)>> {
    proptest::collection::hash_map(1u32..100, vec(asks(), 1..4), 0..8)
        .prop_map(|rules| rules.into_iter().collect())
}

fn priority(rule: RuleId) -> Option<u32> {
    match rule {
        RuleId::Priority(priority) => Some(priority.get()),
        RuleId::Default => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_table_decides_as_a_plain_evaluation_and_explains_what_it_decides(
        rules in rules(),
        default: bool,
        asked in asked(),
    ) {
        let mut builder = RuleTable::builder();
        for (priority, conditions) in &rules {
            let rule = Rule::new(*priority).then(FixedResponse::new(200));
            builder = builder.rule(
                conditions.iter().fold(rule, |rule, asks| rule.when(asks.condition())),
            );
        }
        if default {
            builder = builder.default_action(FixedResponse::new(404));
        }
        let table = builder.build().unwrap();

        let mut request = Request::builder()
            .method(asked.method)
            .uri(format!("{}{}", asked.path.0, asked.query.0));
        if let Some(host) = asked.host.0 {
            request = request.header("host", host);
        }
        for line in asked.header {
            request = request.header("x-h", *line);
        }
        let request = request.body(()).unwrap();
        let peer = asked.client.map(|client| Peer::new((client, 5000).into()));
        let head = Head::of(&request, peer.as_ref());

        let found = table
            .first_match(&head)
            .map(|found| priority(found.rule()))
            .map_err(|error| (error.kind(), error.rule().and_then(priority)));
        prop_assert_eq!(found, naive(&rules, default, &asked));

        let explanation = table.explain(&head);
        match found {
            Ok(rule) => {
                prop_assert_eq!(explanation.matched_rule().map(priority), Some(rule));
                prop_assert!(explanation.error().is_none());
                let last = explanation.rules().last().unwrap();
                prop_assert!(last.matched() && priority(last.rule()) == rule);
            }
            Err(told) => {
                prop_assert!(explanation.matched_rule().is_none());
                let error = explanation.error().unwrap();
                prop_assert_eq!((error.kind(), error.rule().and_then(priority)), told);
                prop_assert!(explanation.rules().iter().all(|rule| !rule.matched()));
            }
        }
        // Its verdicts are those of the oracle, up to the one that decided the rule.
        for rule in explanation.rules().iter().filter(|rule| rule.rule() != RuleId::Default) {
            let (_, asks) =
                rules.iter().find(|(p, _)| Some(*p) == priority(rule.rule())).unwrap();
            let mut decided = false;
            for (asks, told) in asks.iter().zip(rule.conditions()) {
                let expected = match asks.holds(&asked) {
                    _ if decided => Verdict::NotAsked,
                    Ok(true) => Verdict::Yes,
                    Ok(false) => Verdict::No,
                    Err(_) => Verdict::Undecided,
                };
                decided |= matches!(expected, Verdict::No | Verdict::Undecided);
                prop_assert_eq!(told.verdict(), expected);
            }
        }
    }
}
