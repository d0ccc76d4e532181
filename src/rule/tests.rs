//! The rules as a whole: ALB's vectors by number, and tables against a naive evaluation.

use http::Request;

use super::*;
use crate::{
    error::Kind,
    group::TargetGroup,
    head::{Head, Peer},
    id::RuleId,
};

mod oracle;

fn group(name: &str) -> TargetGroup {
    TargetGroup::builder(name).build().unwrap()
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).header("host", "example.com").body(()).unwrap()
}

fn peer(client: &str) -> Peer {
    Peer::new(client.parse().unwrap())
}

/// Tells whether a rule with this one condition matches.
fn matches(condition: Condition, request: &Request<()>, peer: Option<&Peer>) -> bool {
    let rule = Rule::new(1).when(condition).then(FixedResponse::new(200));
    let table =
        RuleTable::builder().rule(rule).default_action(FixedResponse::new(404)).build().unwrap();
    let head = Head::of(request, peer);
    let found = table.first_match(&head).unwrap();
    assert_eq!(table.explain(&head).matched_rule(), Some(found.rule()));
    found.rule() != RuleId::Default
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let request = Request::get("/").header("host", host).body(()).unwrap();
    matches(Condition::host_header([pattern]), &request, None)
}

fn path_matches(pattern: &str, path: &str) -> bool {
    matches(Condition::path_pattern([pattern]), &get(path), None)
}

/// The faults of one rule, in one text.
fn faults(rule: Rule) -> String {
    let built = RuleTable::builder().rule(rule).build();
    built.err().map(|invalid| invalid.to_string()).unwrap_or_default()
}

fn faults_of(condition: Condition) -> String {
    faults(Rule::new(1).when(condition).then(FixedResponse::new(200)))
}

fn faults_then(action: impl Into<Action>) -> String {
    faults(Rule::new(1).when(Condition::path_pattern(["*"])).then(action))
}

#[test]
fn vector_01_a_wildcard_subdomain_is_not_the_domain() {
    assert!(!host_matches("*.example.com", "example.com"));
}

#[test]
fn vector_02_a_host_matches_in_either_case() {
    assert!(host_matches("*.example.com", "TEST.example.COM"));
    assert!(host_matches("*.Example.com", "a.b.example.com."));
    assert!(host_matches("example.com", "example.com:8080"));
}

#[test]
fn vector_03_a_path_matches_in_its_own_case_only() {
    assert!(!path_matches("/Img/*", "/img/a"));
    assert!(path_matches("/Img/*", "/Img/a/b?c"));
    assert!(!path_matches("/Img/*", "/Img"));
}

#[test]
fn vector_04_a_method_in_lower_case_is_refused() {
    assert_eq!(
        faults_of(Condition::http_request_method(["get"])),
        "rule 1: http-request-method \"get\": expected only A to Z, - and _",
    );
    assert!(matches(Condition::http_request_method(["PUT", "GET"]), &get("/"), None));
    assert!(!matches(Condition::http_request_method(["PUT"]), &get("/"), None));
}

#[test]
fn vector_05_each_line_of_a_header_is_tried() {
    let mut request = get("/");
    let chrome = || Condition::http_header("User-Agent", ["*chrome*"]);
    assert!(!matches(chrome(), &request, None));
    request.headers_mut().append("user-agent", "curl/8".parse().unwrap());
    assert!(!matches(chrome(), &request, None));
    request.headers_mut().append("user-agent", "Mozilla Chrome/1".parse().unwrap());
    assert!(matches(chrome(), &request, None));
}

#[test]
fn vector_06_a_query_matches_in_either_case() {
    let version = || Condition::query_string([QueryPair::new("version", "v1")]);
    assert!(matches(version(), &get("/?VERSION=V1"), None));
    assert!(!matches(version(), &get("/?version=v2"), None));
    assert!(!matches(version(), &get("/"), None));
}

#[test]
fn vector_07_the_source_is_the_connection_and_no_header() {
    let mut request = get("/");
    request.headers_mut().append("x-forwarded-for", "10.1.1.1".parse().unwrap());
    let inside = || Condition::source_ip(["10.0.0.0/8"]);
    assert!(!matches(inside(), &request, Some(&peer("192.0.2.1:1"))));
    assert!(matches(inside(), &request, Some(&peer("10.1.1.1:1"))));
}

#[test]
fn vector_11_a_redirect_of_the_query_alone_is_refused() {
    let faults = faults_then(Redirect::found().query("a=b"));
    assert!(faults.ends_with("since this one is a loop"), "{faults}");
}

#[test]
fn vector_12_http_is_redirected_to_https() {
    let action = Redirect::moved_permanently()
        .protocol("HTTPS")
        .port(443)
        .path("/#{path}")
        .query("#{query}");
    let table = RuleTable::builder().default_action(action).build().unwrap();
    let request = Request::get("/a?b=1").header("host", "h").body(()).unwrap();
    let peer = peer("192.0.2.1:5000").local("192.0.2.9:80".parse().unwrap());
    let head = Head::of(&request, Some(&peer));
    let Action::Redirect(redirect) = table.first_match(&head).unwrap().action() else {
        panic!("the action is a redirect");
    };
    let response = redirect.response(&head).unwrap();
    assert_eq!(response.status(), 301);
    assert_eq!(response.headers()["location"], "https://h:443/a?b=1");
    assert_eq!(table.explain(&head).location(), Some("https://h:443/a?b=1"));
}

#[test]
fn vector_13_a_fixed_response_is_no_redirect() {
    assert_eq!(
        faults_then(FixedResponse::new(302)),
        "rule 1: fixed-response status \"302\": expected 200 to 299 or 400 to 599",
    );
    for status in [0, 199, 300, 399, 600, 999] {
        assert_ne!(faults_then(FixedResponse::new(status)), "", "{status}");
    }
    for status in [200, 299, 400, 599] {
        assert_eq!(faults_then(FixedResponse::new(status)), "");
    }
}

#[test]
fn vector_14_weights_share_the_requests() {
    let (blue, green) = (group("blue"), group("green"));
    let forward = Forward::split([(&blue, 10), (&green, 20)]);
    let table = RuleTable::builder().default_action(forward.clone()).seed(14).build().unwrap();
    let draws = (0..30_000).map(|_| table.choose_group(&forward).unwrap());
    let of_blue = draws.filter(|group| group.name() == blue.name()).count();
    assert!((9_700..10_300).contains(&of_blue), "{of_blue}");
}

#[test]
fn vector_15_a_group_of_weight_0_gets_nothing() {
    let (blue, green) = (group("blue"), group("green"));
    for split in [[(&blue, 1), (&green, 0)], [(&green, 0), (&blue, 1)]] {
        let forward = Forward::split(split);
        let table = RuleTable::builder().default_action(forward.clone()).seed(1).build().unwrap();
        let mut draws = (0..10_000).map(|_| table.choose_group(&forward).unwrap());
        assert!(draws.all(|group| group.name() == "blue"));
        // It may get weight in the next table, so its targets are checked meanwhile.
        assert_eq!(table.groups().len(), 2);
    }
}

#[test]
fn a_path_is_compared_in_its_normal_form() {
    for path in ["/admin/x", "/%61dmin/x", "/a/../admin/x", "/a/%2e%2E/admin/./x", "/../admin/x"] {
        assert!(path_matches("/admin/*", path), "{path}");
    }
    for path in ["//admin/x", "/%2561dmin/x", "/admin%2fx", "/ADMIN/x", "/admin"] {
        assert!(!path_matches("/admin/*", path), "{path}");
    }
    // The same holds for what the user writes.
    assert!(path_matches("/%61%2f%C3%a9", "/a%2Fé"));
    assert!(path_matches("/100%25", "/100%"));
    assert!(path_matches("*%*", "/a%2Fb"));
    assert!(!path_matches("*%*", "/%61"));
}

#[test]
fn no_field_stands_for_the_method_the_host_the_path_or_the_query() {
    let mut request = get("/public?a=b");
    for (name, value) in [
        ("x-original-url", "/admin?key=1"),
        ("x-original-uri", "/admin?key=1"),
        ("x-rewrite-url", "/admin?key=1"),
        ("x-forwarded-uri", "/admin?key=1"),
        ("x-forwarded-path", "/admin"),
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-forwarded-host", "admin.example"),
        ("x-original-host", "admin.example"),
        ("x-host", "admin.example"),
        ("forwarded", "for=10.1.1.1;host=admin.example;proto=https"),
        ("x-real-ip", "10.1.1.1"),
        ("true-client-ip", "10.1.1.1"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let client = peer("192.0.2.1:1").local("192.0.2.9:80".parse().unwrap());
    for forged in [
        Condition::path_pattern(["/admin*"]),
        Condition::host_header(["admin.example"]),
        Condition::http_request_method(["DELETE"]),
        Condition::query_string([QueryPair::new("key", "1")]),
        Condition::source_ip(["10.0.0.0/8"]),
    ] {
        assert!(!matches(forged.clone(), &request, Some(&client)), "{forged:?}");
    }
    // Nor in where a client is sent.
    let action = Redirect::found().path("/x/#{path}");
    let table = RuleTable::builder().default_action(action).build().unwrap();
    let explained = table.explain(&Head::of(&request, Some(&client)));
    assert_eq!(explained.location(), Some("http://example.com:80/x/public?a=b"));
}

#[test]
fn values_are_alternatives_and_conditions_are_not() {
    let rule = Rule::new(1)
        .when(Condition::path_pattern(["/a", "/b"]))
        .when(Condition::http_request_method(["GET", "HEAD"]))
        .then(FixedResponse::new(200));
    let table = RuleTable::builder().rule(rule).build().unwrap();
    let check = |method: &str, path: &str, expected: bool| {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        assert_eq!(table.first_match(&Head::of(&request, None)).is_ok(), expected);
    };
    check("GET", "/a", true);
    check("HEAD", "/b", true);
    check("PUT", "/a", false);
    check("GET", "/c", false);
}

#[test]
fn the_lowest_priority_that_matches_decides_however_the_rules_were_given() {
    let rule = |priority: u32, path: &str| {
        Rule::new(priority).when(Condition::path_pattern([path])).then(FixedResponse::new(200))
    };
    let table = RuleTable::builder()
        .rule(rule(30, "/*"))
        .rule(rule(10, "/a"))
        .rule(rule(20, "/a*"))
        .build()
        .unwrap();
    let found = |path| table.first_match(&Head::of(&get(path), None)).unwrap().rule().to_string();
    assert_eq!([found("/a"), found("/ab"), found("/b")], ["rule 10", "rule 20", "rule 30"]);
}

#[test]
fn without_a_default_rule_a_request_may_find_none() {
    let table = RuleTable::builder().build().unwrap();
    let error = table.first_match(&Head::of(&get("/"), None)).unwrap_err();
    assert_eq!((error.kind(), error.rule()), (Kind::NoRule, None));
    assert_eq!(error.status(), 404);
}

#[test]
fn a_source_cannot_be_decided_without_a_peer() {
    let table = RuleTable::builder()
        .rule(
            Rule::new(7)
                .when(Condition::path_pattern(["/admin"]))
                .when(Condition::source_ip(["10.0.0.0/8"]))
                .then(FixedResponse::new(403)),
        )
        .default_action(FixedResponse::new(200))
        .build()
        .unwrap();
    let request = get("/admin");
    let head = Head::of(&request, None);
    let error = table.first_match(&head).unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), (Kind::NoPeer, 500));
    assert_eq!(error.rule().unwrap().to_string(), "rule 7");
    assert!(error.to_string().contains("rule 7 has a source-ip condition"), "{error}");
    let explanation = table.explain(&head);
    assert_eq!(explanation.error().unwrap().kind(), Kind::NoPeer);
    assert_eq!(explanation.rules()[0].conditions()[1].verdict(), Verdict::Undecided);
    // Whom the rule is not for anyway does not need one.
    assert!(table.first_match(&Head::of(&get("/"), None)).is_ok());
}

#[test]
fn a_panic_in_a_predicate_fails_its_request_alone() {
    let picky = from_fn(|head| match head.path() {
        // `resume_unwind` is a panic that prints nothing.
        "/bad" => std::panic::resume_unwind(Box::new("no such thing")),
        path => path == "/good",
    });
    let rule = Rule::new(3).when(Condition::custom("picky", picky)).then(FixedResponse::new(200));
    let table = RuleTable::builder().rule(rule).build().unwrap();
    let find = |path| table.first_match(&Head::of(&get(path), None)).map(|found| found.rule());
    let error = find("/bad").unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), (Kind::Panicked, 500));
    assert_eq!(error.rule().unwrap().to_string(), "rule 3");
    let text = error.to_string();
    assert!(text.ends_with("predicate \"picky\" of rule 3 panicked: no such thing"), "{text}");
    assert_eq!(find("/good").unwrap().to_string(), "rule 3");
    assert_eq!(find("/other").unwrap_err().kind(), Kind::NoRule);
}

#[test]
fn every_fault_is_told_at_once() {
    let (web, other) = (group("web"), group("web"));
    let invalid = RuleTable::builder()
        .rule(Rule::new(0))
        .rule(
            Rule::new(5)
                .when(Condition::host_header(["", "ä"]))
                .when(Condition::path_pattern(["/a b"]))
                .when(Condition::http_header("Host", ["x"]))
                .when(Condition::http_header("a b", ["\t"]))
                .when(Condition::source_ip(["10.0.0.1", "10.0.0.0/33"]))
                .then(Forward::split([(&web, 1000), (&web, 0)])),
        )
        .rule(
            Rule::new(5)
                .when(Condition::query_string([QueryPair::new("", "a b")]))
                .when(Condition::host_header([""; 0]))
                .when(Condition::custom("", from_fn(|_| true)))
                .then(Forward::split([(&web, 0), (&other, 0)])),
        )
        .default_action(Forward::split([(&web, 1); 0]))
        .build()
        .unwrap_err();
    let expected = [
        r#"rule 0: priority "0": expected 1 to 4294967295"#,
        r#"rule 0: conditions: expected at least one"#,
        r#"rule 0: action: expected one"#,
        r#"rule 5: host-header "": expected one or more visible ASCII characters"#,
        r#"rule 5: host-header "ä": expected one or more visible ASCII characters"#,
        r#"rule 5: path-pattern "/a b": expected one or more visible ASCII characters"#,
        r#"rule 5: http-header name "Host": expected a host-header condition instead"#,
        r#"rule 5: http-header name "a b": expected the name of a header field: letters, digits and !#$%&'*+-.^_`|~"#,
        r#"rule 5: http-header "\t": expected one or more visible ASCII characters and spaces"#,
        r#"rule 5: source-ip "10.0.0.1": expected an address and the length of its prefix, as in 10.0.0.0/8 or 2001:db8::/32"#,
        r#"rule 5: source-ip "10.0.0.0/33": expected an address and the length of its prefix, as in 10.0.0.0/8 or 2001:db8::/32"#,
        r#"rule 5: forward weight "1000": expected 0 to 999 for group "web""#,
        r#"rule 5: priority "5": expected no two rules with one priority"#,
        r#"rule 5: query-string key "": expected one or more visible ASCII characters"#,
        r#"rule 5: query-string "a b": expected one or more visible ASCII characters"#,
        r#"rule 5: host-header: expected at least one value"#,
        r#"rule 5: custom name "": expected one or more characters"#,
        r#"rule 5: forward "forward to web with weight 0, web with weight 0": expected a weight above 0 in at least one group"#,
        r#"rule 5: forward "web": expected no two groups with one name"#,
        r#"default rule: forward: expected at least one target group"#,
    ];
    let told = invalid.to_string();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    assert_eq!(invalid.faults().len(), expected.len());
}

#[test]
fn any_number_of_values_and_conditions_is_taken() {
    let many = (0..100).map(|i| format!("/{i}/*"));
    let rule = Rule::new(u32::MAX)
        .when(Condition::path_pattern(many))
        .when(Condition::path_pattern(["*"; 6]))
        .then(FixedResponse::new(200));
    assert_eq!(faults(rule), "");
}

#[test]
fn a_fixed_response_is_sent_as_it_was_written() {
    let response = FixedResponse::new(404).body("nothing here").response();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(12));
    let response = FixedResponse::new(200).content_type("text/css").body(String::from("x"));
    assert_eq!(response.response().headers()["content-type"], "text/css");
    let response = FixedResponse::new(204).body("none").response();
    assert!(http_body::Body::is_end_stream(response.body()) && response.headers().is_empty());
    assert_ne!(faults_then(FixedResponse::new(200).content_type("a\nb")), "");
    assert_ne!(faults_then(FixedResponse::new(200).content_type("")), "");
}

#[test]
fn each_group_is_listed_once() {
    let (blue, green) = (group("blue"), group("green"));
    let rule = |priority: u32, action: Forward| {
        Rule::new(priority).when(Condition::path_pattern(["*"])).then(action)
    };
    let table = RuleTable::builder()
        .rule(rule(1, Forward::to(&blue)))
        .rule(rule(2, Forward::split([(&green, 1), (&blue.clone(), 1)])))
        .default_action(Forward::to(&blue))
        .build()
        .unwrap();
    assert!(table.groups() == [blue.clone(), green]);
    assert!(RuleTable::forward_to(&blue).groups() == [blue]);
}

#[test]
fn a_table_for_one_group_forwards_everything() {
    let web = group("web");
    let table = RuleTable::forward_to(&web);
    let request = get("/");
    let explanation = table.explain(&Head::of(&request, None));
    assert_eq!(explanation.matched_rule(), Some(RuleId::Default));
    assert_eq!(explanation.group().unwrap(), "web");
    assert!(explanation.choice().is_some());
}

#[test]
fn one_seed_makes_one_sequence_and_explaining_takes_no_draw() {
    let (blue, green) = (group("blue"), group("green"));
    let forward = Forward::split([(&blue, 1), (&green, 1)]);
    let table = || RuleTable::builder().default_action(forward.clone()).seed(5).build().unwrap();
    let (asked, plain) = (table(), table());
    let request = get("/");
    let head = Head::of(&request, None);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let foretold = [asked.explain(&head), asked.explain(&head)];
        let chosen = asked.choose_group(&forward).unwrap().name();
        assert!(foretold.iter().all(|explanation| explanation.group() == Some(chosen)));
        assert_eq!(plain.choose_group(&forward).unwrap().name(), chosen);
        seen.insert(chosen.clone());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn an_explanation_reads_well() {
    let (web, beta) = (group("web"), group("beta"));
    let table = RuleTable::builder()
        .rule(
            Rule::new(10)
                .when(Condition::host_header(["*.example.com", "b.org"]))
                .when(Condition::path_pattern(["/x"]))
                .then(FixedResponse::new(403)),
        )
        .rule(
            Rule::new(20)
                .when(Condition::path_pattern(["/a*"]))
                .when(Condition::http_header("X-Tester", ["*"]))
                .when(Condition::query_string([QueryPair::any_key("1")]))
                .when(Condition::http_request_method(["GET"]))
                .when(Condition::source_ip(["192.0.2.0/24"]))
                .when(Condition::custom("always", from_fn(|_| true)))
                .then(Forward::split([(&beta, 9), (&web, 0)])),
        )
        .build()
        .unwrap();
    let request = Request::get("/%61b?q=%31")
        .header("host", "a.org:80")
        .header("x-tester", "one")
        .header("x-tester", "two")
        .body(())
        .unwrap();
    let peer = peer("192.0.2.1:5000");
    let told = table.explain(&Head::of(&request, Some(&peer))).to_string();
    let expected = [
        r#"rule 10 does not match"#,
        r#"  no: host-header is one of *.example.com, b.org: got "a.org""#,
        r#"  not asked: path-pattern is one of /x: got "/ab""#,
        r#"rule 20 matches"#,
        r#"  yes: path-pattern is one of /a*: got "/ab""#,
        r#"  yes: http-header X-Tester is one of *: got "one", "two""#,
        r#"  yes: query-string is one of 1 under any key: got "q=1""#,
        r#"  yes: http-request-method is one of GET: got "GET""#,
        r#"  yes: source-ip is one of 192.0.2.0/24: got 192.0.2.1"#,
        r#"  yes: custom always: got the request"#,
        r#"forward to beta with weight 9, web with weight 0"#,
        r#"group beta keeps no sessions"#,
    ];
    let lines: Vec<_> = told.lines().take(expected.len()).collect();
    assert_eq!(lines, expected);
}

#[test]
fn an_explanation_tells_a_redirect_that_is_too_long() {
    let action = Redirect::found().path("/#{path}/#{path}");
    let table = RuleTable::builder().default_action(action).build().unwrap();
    let request = get(&format!("/{}", "a".repeat(5_000)));
    let explanation = table.explain(&Head::of(&request, None));
    assert_eq!(explanation.error().unwrap().kind(), Kind::RedirectTooLong);
    assert_eq!(explanation.matched_rule(), Some(RuleId::Default));
}
