//! Every class of refusal: a piece of a document, and the lines that refuse it.

use pointsman::gateway::Document;

/// Checks the errors of a document, each without `prefix`.
#[track_caller]
fn check_document(text: &str, prefix: &str, expected: &[&str]) {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        panic!("{error}: {text}");
    }
    let errors = match Document::parse(text) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.to_string().lines().map(str::to_owned).collect(),
    };
    let errors: Vec<_> =
        errors.iter().map(|line| line.strip_prefix(prefix).unwrap_or(line)).collect();
    assert_eq!(errors, expected, "{text}");
}

const GROUPS: &str = r#"
    {"TargetGroupName": "web", "Protocol": "HTTP", "Port": 80},
    {"TargetGroupName": "blue", "TargetGroupArn": "arn:blue", "Protocol": "HTTP", "Port": 80},
    {"TargetGroupName": "sticky", "Protocol": "HTTP", "Port": 80,
     "TargetGroupAttributes": [{"Key": "stickiness.enabled", "Value": "true"}]}
"#;

const OK: &str = r#"{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}"#;

/// Checks a listener's fields beside its protocol and port.
#[track_caller]
fn check_listener(fields: &str, expected: &[&str]) {
    let text = format!(
        r#"{{"TargetGroups": [{GROUPS}], "Listeners": [{{"Protocol": "HTTP", "Port": 80, {fields}}}]}}"#
    );
    check_document(&text, "Listeners[0].", expected);
}

#[track_caller]
fn check_rules(rules: &str, expected: &[&str]) {
    check_listener(&format!(r#""DefaultActions": [{OK}], "Rules": [{rules}]"#), expected);
}

/// Checks the conditions of a rule; what belongs to the first is told without its path.
#[track_caller]
fn check_conditions(conditions: &str, expected: &[&str]) {
    let text = format!(
        r#"{{"Listeners": [{{"Protocol": "HTTP", "Port": 80, "DefaultActions": [{OK}], "Rules": [
            {{"Priority": 1, "Conditions": [{conditions}], "Actions": [{OK}]}}
        ]}}]}}"#
    );
    check_document(&text, "Listeners[0].Rules[0].Conditions", expected);
}

#[track_caller]
fn check_condition(condition: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|line| format!("[0]{line}")).collect();
    check_conditions(condition, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Checks default actions; what belongs to the first is told without its path.
#[track_caller]
fn check_actions(actions: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|line| format!("DefaultActions{line}")).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    check_listener(&format!(r#""DefaultActions": [{actions}]"#), &expected);
}

/// Checks a target group's fields beside its name, protocol and port.
#[track_caller]
fn check_group(fields: &str, expected: &[&str]) {
    let group = format!(
        r#"{{"TargetGroupName": "web", "Protocol": "HTTP", "Port": 80{}{fields}}}"#,
        if fields.is_empty() { "" } else { "," }
    );
    check_whole_group(&group, expected);
}

#[track_caller]
fn check_whole_group(group: &str, expected: &[&str]) {
    let text = format!(
        r#"{{"TargetGroups": [{group}],
            "Listeners": [{{"Protocol": "HTTP", "Port": 80, "DefaultActions": [{OK}]}}]}}"#
    );
    check_document(&text, "TargetGroups[0].", expected);
}

#[track_caller]
fn check_attribute(of: &str, key: &str, value: &str, expected: &[&str]) {
    let list = format!(r#""{of}": [{{"Key": "{key}", "Value": "{value}"}}]"#);
    let expected: Vec<_> =
        expected.iter().map(|line| format!("{of}[0] {key}: \"{value}\": {line}")).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    match of {
        "TargetGroupAttributes" => check_group(&list, &expected),
        "ListenerAttributes" => {
            check_listener(&format!(r#""DefaultActions": [{OK}], {list}"#), &expected);
        }
        _ => {
            let text = format!(
                r#"{{{list},
                    "Listeners": [{{"Protocol": "HTTP", "Port": 80, "DefaultActions": [{OK}]}}]}}"#
            );
            check_document(&text, "", &expected);
        }
    }
}

// The document.

#[test]
fn a_document_has_listeners() {
    check_document("{}", "", &["Listeners: missing, expected at least one listener"]);
    check_document(r#"{"Listeners": []}"#, "", &["Listeners: []: expected at least one listener"]);
    check_document(
        "[]",
        "",
        &["the document: []: expected an object of LoadBalancerAttributes, SecurityGroups, \
           TargetGroups, Listeners or Type"],
    );
    check_document(r#"{"Listeners": {"a": 1}}"#, "", &["Listeners: {…}: expected a list"]);
    check_document(
        r#"{"Listeners": [null]}"#,
        "",
        &["Listeners[0]: null: expected an object of Protocol, Port, DefaultActions, Rules or \
           ListenerAttributes"],
    );
}

#[test]
fn an_unknown_field_is_named_with_the_nearest_known_one() {
    let listener = format!(r#"{{"Protocol": "HTTP", "Port": 80, "DefaultActions": [{OK}]}}"#);
    let check = |field: &str, expected: &str| {
        check_document(&format!(r#"{{{field}, "Listeners": [{listener}]}}"#), "", &[expected]);
    };
    check(r#""listeners": []"#, "listeners: unknown field, did you mean Listeners?");
    check(r#""TargetGroup": []"#, "TargetGroup: unknown field, did you mean TargetGroups?");
    check(
        r#""Colour": 1"#,
        "Colour: unknown field, expected LoadBalancerAttributes, SecurityGroups, TargetGroups, \
         Listeners or Type",
    );
    check(
        r#""a\nb": 1"#,
        r#"["a\nb"]: unknown field, expected LoadBalancerAttributes, SecurityGroups, TargetGroups, Listeners or Type"#,
    );
    check_document(
        &format!(r#"{{"Listeners": [{listener}], "Listeners": [{listener}]}}"#),
        "",
        &["Listeners: given twice, expected once"],
    );
}

#[test]
fn the_type_is_application() {
    check_document(
        &format!(
            r#"{{"Type": "network",
                "Listeners": [{{"Protocol": "HTTP", "Port": 80, "DefaultActions": [{OK}]}}]}}"#
        ),
        "",
        &["Type: \"network\": cannot be had here, this is an application load balancer; \
           expected application"],
    );
}

// Listeners and rules.

#[test]
fn a_listener_has_protocol_port_and_default_actions() {
    check_document(
        r#"{"Listeners": [{}]}"#,
        "Listeners[0].",
        &[
            "Protocol: missing, expected HTTP",
            "Port: missing, expected 1 to 65535",
            "DefaultActions: missing, expected one forward, redirect or fixed-response",
        ],
    );
    check_listener(
        r#""DefaultActions": []"#,
        &["DefaultActions: []: expected one forward, redirect or fixed-response"],
    );
    for port in ["0", "65536", "-1", "80.5", "\"x\"", "\"+80\"", "\"\"", "true", "null"] {
        check_document(
            &format!(
                r#"{{"Listeners": [{{"Protocol": "HTTP", "Port": {port}, "DefaultActions": [{OK}]}}]}}"#
            ),
            "Listeners[0].",
            &[&format!("Port: {port}: expected 1 to 65535")],
        );
    }
}

#[test]
fn no_two_listeners_have_one_port() {
    let listener =
        |port: &str| format!(r#"{{"Protocol": "HTTP", "Port": {port}, "DefaultActions": [{OK}]}}"#);
    check_document(
        &format!(r#"{{"Listeners": [{}, {}]}}"#, listener("80"), listener("\"80\"")),
        "",
        &["Listeners[1]: port 80 is in use, expected no two listeners with one"],
    );
}

#[test]
fn what_needs_tls_is_refused_and_never_served_in_the_clear() {
    check_document(
        &format!(
            r#"{{"Listeners": [{{"Protocol": "HTTPS", "Port": 443, "DefaultActions": [{OK}],
                "Certificates": [{{"CertificateArn": "a.pem"}}],
                "SslPolicy": "ELBSecurityPolicy-2016-08",
                "MutualAuthentication": {{"Mode": "verify"}},
                "AlpnPolicy": ["HTTP2Optional"]}}]}}"#
        ),
        "Listeners[0].",
        &[
            "Certificates: cannot be had here, there is no TLS yet",
            "SslPolicy: \"ELBSecurityPolicy-2016-08\": cannot be had here, there is no TLS yet",
            "MutualAuthentication: cannot be had here, there is no TLS yet",
            "AlpnPolicy: cannot be had here, it is for Network Load Balancers",
            "Protocol: \"HTTPS\": cannot be had here, there is no TLS yet; expected HTTP",
        ],
    );
    check_document(
        &format!(
            r#"{{"Listeners": [{{"Protocol": "TCP", "Port": 443, "DefaultActions": [{OK}]}}]}}"#
        ),
        "Listeners[0].",
        &["Protocol: \"TCP\": cannot be had here, it is for Network Load Balancers; expected HTTP"],
    );
    check_document(
        &format!(
            r#"{{"Listeners": [{{"Protocol": "http", "Port": 443, "DefaultActions": [{OK}]}}]}}"#
        ),
        "Listeners[0].",
        &["Protocol: \"http\": expected HTTP, did you mean HTTP?"],
    );
}

#[test]
fn a_rule_has_a_priority_of_its_own_conditions_and_actions() {
    let condition = r#"{"Field": "path-pattern", "Values": ["/"]}"#;
    check_rules(
        "{}",
        &[
            "Rules[0].Priority: missing, expected 1 to 50000",
            "Rules[0].Conditions: missing, expected at least one condition",
            "Rules[0].Actions: missing, expected one forward, redirect or fixed-response",
        ],
    );
    let rule = |priority: &str| {
        format!(r#"{{"Priority": {priority}, "Conditions": [{condition}], "Actions": [{OK}]}}"#)
    };
    for priority in ["0", "50001", "\"default\"", "1.5"] {
        check_rules(
            &rule(priority),
            &[&format!("Rules[0].Priority: {priority}: expected 1 to 50000")],
        );
    }
    check_rules(
        &format!("{}, {}, {}", rule("1"), rule("2"), rule("\"1\"")),
        &["Rules[2]: priority 1 is in use, expected no two rules of a listener with one"],
    );
    check_rules(
        &format!(
            r#"{{"Priority": 1, "Conditions": [], "Actions": [{OK}], "IsDefault": true,
                "Transforms": [{{"Type": "url-rewrite"}}]}}"#
        ),
        &[
            "Rules[0].Transforms: cannot be had here, requests are not rewritten yet",
            "Rules[0].IsDefault: true: expected false; what the default rule does stands in \
             DefaultActions",
            "Rules[0].Conditions: []: expected at least one condition",
        ],
    );
}

#[test]
fn quotas_are_albs() {
    let condition = r#"{"Field": "path-pattern", "Values": ["/"]}"#;
    let rules = |count: usize| {
        let rule = |priority| {
            format!(r#"{{"Priority": {priority}, "Conditions": [{condition}], "Actions": [{OK}]}}"#)
        };
        (1..=count).map(rule).collect::<Vec<_>>().join(", ")
    };
    check_rules(&rules(100), &[]);
    check_listener(
        &format!(r#""DefaultActions": [{OK}], "Rules": [{}]"#, rules(101)),
        &["Listeners: 101 rules, expected 100 at most"],
    );
    let listeners = |count: usize| {
        let listener =
            |port| format!(r#"{{"Protocol": "HTTP", "Port": {port}, "DefaultActions": [{OK}]}}"#);
        (1..=count).map(listener).collect::<Vec<_>>().join(", ")
    };
    let document = |count| format!(r#"{{"Listeners": [{}]}}"#, listeners(count));
    check_document(&document(50), "", &[]);
    check_document(&document(51), "", &["Listeners: 51 listeners, expected 50 at most"]);
    let groups = |count: usize| {
        let group = |i| format!(r#"{{"Name": "g{i}", "Protocol": "HTTP", "Port": 80}}"#);
        let groups = (1..=count).map(group).collect::<Vec<_>>().join(", ");
        format!(r#"{{"TargetGroups": [{groups}], "Listeners": [{}]}}"#, listeners(1))
    };
    check_document(&groups(100), "", &[]);
    check_document(&groups(101), "", &["TargetGroups: 101 target groups, expected 100 at most"]);
    let targets = |count: usize| {
        let target = |port| format!(r#"{{"Id": "10.0.0.1", "Port": {port}}}"#);
        let targets = (1..=count).map(target).collect::<Vec<_>>().join(", ");
        format!(
            r#"{{"TargetGroups": [{{"Name": "g", "Protocol": "HTTP", "Port": 80, "Targets": [{targets}]}}],
                "Listeners": [{}]}}"#,
            listeners(1)
        )
    };
    check_document(&targets(1000), "", &[]);
    check_document(&targets(1001), "", &["TargetGroups: 1001 targets, expected 1000 at most"]);
}

// Conditions.

#[test]
fn a_condition_has_a_known_field_and_what_belongs_to_it() {
    check_condition("{}", &[".Field: missing, expected host-header, path-pattern or another"]);
    check_condition(
        r#"{"Field": "host", "Values": ["a.b"]}"#,
        &[".Field: \"host\": expected host-header, path-pattern, http-header, \
           http-request-method, query-string or source-ip"],
    );
    check_condition(
        r#"{"Field": "path-patern", "Values": ["/"]}"#,
        &[".Field: \"path-patern\": expected host-header, path-pattern, http-header, \
           http-request-method, query-string or source-ip, did you mean path-pattern?"],
    );
    for (field, config) in [
        ("host-header", "HostHeaderConfig"),
        ("path-pattern", "PathPatternConfig"),
        ("http-header", "HttpHeaderConfig"),
        ("http-request-method", "HttpRequestMethodConfig"),
        ("query-string", "QueryStringConfig"),
        ("source-ip", "SourceIpConfig"),
    ] {
        check_condition(
            &format!(r#"{{"Field": "{field}"}}"#),
            &[&format!(".{config}: missing, expected with Field {field}")],
        );
    }
    check_condition(
        r#"{"Field": "path-pattern", "Values": ["/"], "SourceIpConfig": {"Values": ["10.0.0.0/8"]}}"#,
        &[".SourceIpConfig: expected with Field source-ip only, not with path-pattern"],
    );
    check_condition(
        r#"{"Field": "source-ip", "Values": ["10.0.0.0/8"]}"#,
        &[
            ".Values: expected in SourceIpConfig.Values with Field source-ip",
            ".SourceIpConfig: missing, expected with Field source-ip",
        ],
    );
}

#[test]
fn values_stand_in_one_place() {
    for (field, config) in
        [("host-header", "HostHeaderConfig"), ("path-pattern", "PathPatternConfig")]
    {
        check_condition(
            &format!(
                r#"{{"Field": "{field}", "Values": ["a.b"], "{config}": {{"Values": ["a.b"]}}}}"#
            ),
            &[&format!(": expected Values or {config} with Field {field}, not both")],
        );
        check_condition(
            &format!(r#"{{"Field": "{field}", "Values": ["a.b", "b.c"]}}"#),
            &[&format!(".Values: expected 1 value, got 2; more stand in {config}")],
        );
        check_condition(
            &format!(r#"{{"Field": "{field}", "Values": []}}"#),
            &[".Values: []: expected at least one value"],
        );
        check_condition(
            &format!(r#"{{"Field": "{field}", "{config}": {{"Values": []}}}}"#),
            &[&format!(".{config}.Values: []: expected at least one value")],
        );
        check_condition(
            &format!(r#"{{"Field": "{field}", "{config}": {{}}}}"#),
            &[&format!(".{config}.Values: missing, expected at least one value")],
        );
        check_condition(
            &format!(r#"{{"Field": "{field}", "{config}": {{"RegexValues": ["^a"]}}}}"#),
            &[
                &format!(
                    ".{config}.RegexValues: cannot be had here, there are no regular \
                     expressions yet"
                ),
                &format!(".{config}.Values: missing, expected at least one value"),
            ],
        );
    }
    for (field, config) in [
        ("http-request-method", "HttpRequestMethodConfig"),
        ("query-string", "QueryStringConfig"),
        ("source-ip", "SourceIpConfig"),
    ] {
        check_condition(
            &format!(r#"{{"Field": "{field}", "{config}": {{"Values": []}}}}"#),
            &[&format!(".{config}.Values: []: expected at least one value")],
        );
        check_condition(
            &format!(r#"{{"Field": "{field}", "{config}": {{}}}}"#),
            &[&format!(".{config}.Values: missing, expected at least one value")],
        );
    }
    check_condition(
        r#"{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x", "Values": []}}"#,
        &[".HttpHeaderConfig.Values: []: expected at least one value"],
    );
}

#[test]
fn a_condition_has_three_values_at_most_and_five_of_addresses() {
    let check = |field: &str, config: &str, value: &str, max: usize| {
        let condition = |count| {
            let values = vec![value; count].join(", ");
            let name = match field {
                "http-header" => r#""HttpHeaderName": "x", "#,
                _ => "",
            };
            format!(r#"{{"Field": "{field}", "{config}": {{{name}"Values": [{values}]}}}}"#)
        };
        check_condition(&condition(max), &[]);
        let values = format!("[0].{config}.Values: {} values in one condition", max + 1);
        let mut expected = vec![format!("{values}, expected {max} at most")];
        if max == 5 {
            expected.push(": 6 values in one rule, expected 5 at most".to_owned());
        }
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check_conditions(&condition(max + 1), &expected);
    };
    check("host-header", "HostHeaderConfig", r#""a.b""#, 3);
    check("path-pattern", "PathPatternConfig", r#""/a""#, 3);
    check("http-header", "HttpHeaderConfig", r#""a""#, 3);
    check("http-request-method", "HttpRequestMethodConfig", r#""GET""#, 3);
    check("query-string", "QueryStringConfig", r#"{"Key": "a", "Value": "b"}"#, 3);
    check("source-ip", "SourceIpConfig", r#""10.0.0.0/8""#, 5);
}

/// The reasons for which ALB answers `ValidationError` or `PriorityInUse` to a rule, in its words. What
/// comes close to a limit is checked by the tests below.
#[test]
fn every_class_of_albs_validation_errors_is_refused() {
    let check = |of_alb: &str, condition: &str, expected: &str| {
        println!("{of_alb}");
        check_condition(condition, &[expected]);
    };
    check(
        "Condition field 'url' must be one of '[...]'",
        r#"{"Field": "url", "Values": ["/"]}"#,
        ".Field: \"url\": expected host-header, path-pattern, http-header, http-request-method, \
         query-string or source-ip",
    );
    check(
        "The 'host-header' field contains too many values; the limit is '1'",
        r#"{"Field": "host-header", "Values": ["a.b", "b.c"]}"#,
        ".Values: expected 1 value, got 2; more stand in HostHeaderConfig",
    );
    check(
        "The 'path-pattern' field contains too many values; the limit is '1'",
        r#"{"Field": "path-pattern", "Values": ["/a", "/b"]}"#,
        ".Values: expected 1 value, got 2; more stand in PathPatternConfig",
    );
    let (long, shown) = ("a".repeat(129), format!("\"{}\"…", "a".repeat(80)));
    check(
        "The 'host-header' value is too long; the limit is '128'",
        &format!(r#"{{"Field": "host-header", "Values": ["{long}"]}}"#),
        &format!(".Values[0]: {shown}: expected 1 to 128 letters, digits and - _ . * ?"),
    );
    check(
        "The 'path-pattern' value is too long; the limit is '128'",
        &format!(r#"{{"Field": "path-pattern", "Values": ["{long}"]}}"#),
        &format!(
            ".Values[0]: {shown}: expected 1 to 128 letters, digits and _ - . $ / ~ \" ' @ : + & ; * ?"
        ),
    );
    check(
        "The 'http-header' value is too long; the limit is '128'",
        &format!(
            r#"{{"Field": "http-header",
                "HttpHeaderConfig": {{"HttpHeaderName": "x", "Values": ["{long}"]}}}}"#
        ),
        &format!(
            ".HttpHeaderConfig.Values[0]: {shown}: expected 1 to 128 visible ASCII characters and \
             spaces"
        ),
    );
    check(
        "The 'query-string' value is too long; the limit is '128'",
        &format!(
            r#"{{"Field": "query-string", "QueryStringConfig": {{"Values": [{{"Value": "{long}"}}]}}}}"#
        ),
        &format!(
            ".QueryStringConfig.Values[0].Value: {shown}: expected 1 to 128 letters, digits and \
             _ - . $ / ~ \" ' @ : + & ( ) ! , ; = * ?, others encoded by %"
        ),
    );
    let name = "a".repeat(41);
    check(
        "The 'HttpHeaderName' value is too long; the limit is '40'",
        &format!(
            r#"{{"Field": "http-header",
                "HttpHeaderConfig": {{"HttpHeaderName": "{name}", "Values": ["a"]}}}}"#
        ),
        &format!(
            ".HttpHeaderConfig.HttpHeaderName: \"{name}\": expected 1 to 40 letters, digits and \
             ! # $ % & ' * + - . ^ _ ` | ~"
        ),
    );
    let method = |method: &str| {
        format!(
            r#"{{"Field": "http-request-method",
                "HttpRequestMethodConfig": {{"Values": ["{method}"]}}}}"#
        )
    };
    let of_methods = |method: &str| {
        format!(
            ".HttpRequestMethodConfig.Values[0]: \"{method}\": expected 1 to 40 of A to Z, - and _"
        )
    };
    let name = "A".repeat(41);
    check(
        "The 'http-request-method' value is too long; the limit is '40'",
        &method(&name),
        &of_methods(&name),
    );
    check(
        "The 'http-request-method' value is invalid; the allowed characters are A-Z, hyphen and \
         underscore",
        &method("Get"),
        &of_methods("Get"),
    );
    check(
        "A condition value must be specified",
        r#"{"Field": "path-pattern", "Values": []}"#,
        ".Values: []: expected at least one value",
    );
    check(
        "A 'source-ip' value must be specified",
        r#"{"Field": "source-ip", "SourceIpConfig": {"Values": []}}"#,
        ".SourceIpConfig.Values: []: expected at least one value",
    );
    check(
        "You cannot provide both Values and 'PathPatternConfig' for a condition of type \
         'path-pattern'",
        r#"{"Field": "path-pattern", "Values": ["/"], "PathPatternConfig": {"Values": ["/"]}}"#,
        ": expected Values or PathPatternConfig with Field path-pattern, not both",
    );
    for (field, config) in [
        ("http-header", "HttpHeaderConfig"),
        ("http-request-method", "HttpRequestMethodConfig"),
        ("query-string", "QueryStringConfig"),
        ("source-ip", "SourceIpConfig"),
    ] {
        check(
            &format!("A '{config}' must be specified with '{field}'"),
            &format!(r#"{{"Field": "{field}"}}"#),
            &format!(".{config}: missing, expected with Field {field}"),
        );
    }
    check(
        "A 'Value' must be specified in 'QueryStringKeyValuePair'",
        r#"{"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "a"}]}}"#,
        ".QueryStringConfig.Values[0].Value: missing, expected a value",
    );

    let condition = r#"{"Field": "path-pattern", "Values": ["/"]}"#;
    println!("Either conditions or actions must be specified");
    check_rules(
        r#"{"Priority": 1}"#,
        &[
            "Rules[0].Conditions: missing, expected at least one condition",
            "Rules[0].Actions: missing, expected one forward, redirect or fixed-response",
        ],
    );
    println!("PriorityInUse: The specified priority is in use.");
    let rule = format!(r#"{{"Priority": 1, "Conditions": [{condition}], "Actions": [{OK}]}}"#);
    check_rules(
        &format!("{rule}, {rule}"),
        &["Rules[1]: priority 1 is in use, expected no two rules of a listener with one"],
    );
}

/// What is expected of a value that is right.
const FINE: &str = "";

/// Checks one value of a condition; `expected` is what is allowed instead.
#[track_caller]
fn check_value(field: &str, config: &str, value: &str, expected: &str) {
    let shown = match value.chars().count() {
        ..=80 => format!("{value:?}"),
        _ => format!("{:?}…", value.chars().take(80).collect::<String>()),
    };
    let mut values = serde_json::json!({"Values": [value]});
    if field == "http-header" {
        values["HttpHeaderName"] = "x".into();
    }
    let condition = serde_json::json!({"Field": field, config: values}).to_string();
    let error = format!(".{config}.Values[0]: {shown}: expected {expected}");
    let errors = [error.as_str()];
    check_condition(&condition, if expected == FINE { &[] } else { &errors });
}

#[test]
fn a_host_has_a_dot_and_then_letters() {
    let check = |value: &str, expected| {
        check_value("host-header", "HostHeaderConfig", value, expected);
    };
    let characters = "1 to 128 letters, digits and - _ . * ?";
    let dot = "a . and only letters after the last one";
    check("*.Example-1.com", FINE);
    check(&format!("{}.com", "a".repeat(124)), FINE);
    check(&format!("{}.com", "a".repeat(125)), characters);
    check("", characters);
    check("a.com:80", characters);
    check("a/b.com", characters);
    check("ä.com", characters);
    check("localhost", dot);
    check("10.0.0.1", dot);
    check("example.*", dot);
    check("a.com.", dot);
}

#[test]
fn a_path_has_the_characters_of_one() {
    let check = |value: &str, expected| {
        check_value("path-pattern", "PathPatternConfig", value, expected);
    };
    let characters = "1 to 128 letters, digits and _ - . $ / ~ \" ' @ : + & ; * ?";
    check("/a_-.$~\"'@:+&;?", FINE);
    check("*.php", FINE);
    check(&"a".repeat(128), FINE);
    check(&"a".repeat(129), characters);
    check("", characters);
    check("/a b", characters);
    check("/%41", characters);
    check("/#", characters);
}

#[test]
fn a_header_has_a_name_and_visible_values() {
    let check = |value: &str, expected| {
        check_value("http-header", "HttpHeaderConfig", value, expected);
    };
    let characters = "1 to 128 visible ASCII characters and spaces";
    check("a b*?~", FINE);
    check(&"a".repeat(129), characters);
    check("", characters);
    check("ä", characters);
    check("a\tb", characters);
    let name = |name: &str, expected: &[&str]| {
        check_condition(
            &format!(
                r#"{{"Field": "http-header", "HttpHeaderConfig": {{"HttpHeaderName": "{name}", "Values": ["a"]}}}}"#
            ),
            expected,
        );
    };
    let expected = "expected 1 to 40 letters, digits and ! # $ % & ' * + - . ^ _ ` | ~";
    name(&"a".repeat(40), &[]);
    let long = "a".repeat(41);
    name(&long, &[&format!(".HttpHeaderConfig.HttpHeaderName: \"{long}\": {expected}")]);
    name("a b", &[&format!(".HttpHeaderConfig.HttpHeaderName: \"a b\": {expected}")]);
    name("", &[&format!(".HttpHeaderConfig.HttpHeaderName: \"\": {expected}")]);
    name(
        "HOST",
        &[
            ".HttpHeaderConfig.HttpHeaderName: \"HOST\": expected another name, or Field host-header",
        ],
    );
    check_condition(
        r#"{"Field": "http-header", "HttpHeaderConfig": {"Values": ["a"]}}"#,
        &[".HttpHeaderConfig.HttpHeaderName: missing, expected the name of a header field"],
    );
}

#[test]
fn a_method_is_in_capitals() {
    let check = |value: &str, expected| {
        check_value("http-request-method", "HttpRequestMethodConfig", value, expected);
    };
    let characters = "1 to 40 of A to Z, - and _";
    check("GET", FINE);
    check("M-SEARCH_X", FINE);
    check(&"A".repeat(40), FINE);
    check(&"A".repeat(41), characters);
    check("get", characters);
    check("*", characters);
    check("", characters);
}

#[test]
fn a_query_has_pairs_with_values() {
    let check = |pair: &str, expected: &[&str]| {
        let expected: Vec<_> =
            expected.iter().map(|line| format!(".QueryStringConfig.Values[0]{line}")).collect();
        check_condition(
            &format!(r#"{{"Field": "query-string", "QueryStringConfig": {{"Values": [{pair}]}}}}"#),
            &expected.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    };
    let characters = "expected 1 to 128 letters, digits and _ - . $ / ~ \" ' @ : + & ( ) ! , ; = \
                      * ?, others encoded by %";
    check(r#"{"Key": "a\\*", "Value": "b%20(c)!,;=?"}"#, &[]);
    check(r#"{"Key": "a"}"#, &[".Value: missing, expected a value"]);
    check(r#""a=b""#, &[": \"a=b\": expected an object of Key or Value"]);
    check(r#"{"Value": "a b"}"#, &[&format!(".Value: \"a b\": {characters}")]);
    check(r#"{"Key": "", "Value": "a"}"#, &[&format!(".Key: \"\": {characters}")]);
}

#[test]
fn a_source_is_a_block_of_addresses() {
    let check = |value: &str, expected| {
        check_value("source-ip", "SourceIpConfig", value, expected);
    };
    let block = "an address that clients can have and the length of its prefix, as in 10.0.0.0/8 \
                 or 2001:db8::/32";
    check("10.0.0.0/8", FINE);
    check("2001:db8::/32", FINE);
    check("10.0.0.1", block);
    check("10.0.0.0/33", block);
    check("255.255.255.255/32", block);
    check("*", block);
    check("", block);
}

#[test]
fn what_all_conditions_hold_together_is_bounded() {
    let paths = |values: &str| {
        format!(r#"{{"Field": "path-pattern", "PathPatternConfig": {{"Values": [{values}]}}}}"#)
    };
    let header = |values: &str| {
        format!(
            r#"{{"Field": "http-header", "HttpHeaderConfig": {{"HttpHeaderName": "x", "Values": [{values}]}}}}"#
        )
    };
    check_conditions(&format!("{}, {}", paths(r#""/1", "/2", "/3""#), header(r#""a", "b""#)), &[]);
    check_conditions(
        &format!("{}, {}", paths(r#""/1", "/2", "/3""#), header(r#""a", "b", "c""#)),
        &[": 6 values in one rule, expected 5 at most"],
    );
    check_conditions(&paths(r#""/*/*/*", "/???""#), &[]);
    check_conditions(
        &format!("{}, {}", paths(r#""/*/*/*", "/???""#), header(r#""*""#)),
        &[": 7 wildcards in one rule, expected 6 at most"],
    );
    // Only in a query is there an escape.
    check_conditions(
        &header(r#""\\*\\*\\*\\*\\*\\*\\*""#),
        &[": 7 wildcards in one rule, expected 6 at most"],
    );
    let escaped = r#"{"Field": "query-string", "QueryStringConfig":
        {"Values": [{"Key": "\\*\\?", "Value": "\\*\\*\\*\\*\\*"}]}}"#;
    check_conditions(escaped, &[]);
    check_conditions(
        &format!("{}, {}", paths(r#""/1""#), paths(r#""/2""#)),
        &["[1]: a second path-pattern condition, expected one at most"],
    );
    check_conditions(&format!("{}, {}", header(r#""a""#), header(r#""b""#)), &[]);
}

// Actions.

#[test]
fn one_action_answers_and_it_is_the_last() {
    let two = |orders: [&str; 2], kinds: [&str; 2]| {
        let action = |(order, kind): (&str, &str)| {
            let order =
                if order.is_empty() { String::new() } else { format!(r#", "Order": {order}"#) };
            let config = match kind {
                "fixed-response" => r#", "FixedResponseConfig": {"StatusCode": "200"}"#,
                _ => "",
            };
            format!(r#"{{"Type": "{kind}"{config}{order}}}"#)
        };
        let actions: Vec<_> = orders.into_iter().zip(kinds).map(action).collect();
        actions.join(", ")
    };
    let fixed = "fixed-response";
    check_actions(
        &two(["1", "2"], [fixed, fixed]),
        &[": 2 actions that answer, expected one forward, redirect or fixed-response"],
    );
    check_actions(
        &two(["", "2"], [fixed, fixed]),
        &[
            ": 2 actions that answer, expected one forward, redirect or fixed-response",
            "[0]: without an Order, expected 1 to 50000 with several actions",
        ],
    );
    check_actions(
        &two(["2", "2"], [fixed, fixed]),
        &[
            ": 2 actions that answer, expected one forward, redirect or fixed-response",
            "[1]: Order 2 is given twice, expected another",
        ],
    );
    let refused = "cannot be had here, clients are not authenticated here yet; expected forward, \
                   redirect or fixed-response";
    for kind in ["authenticate-oidc", "authenticate-cognito", "jwt-validation"] {
        check_actions(
            &two(["2", "1"], [kind, fixed]),
            &[
                &format!("[0].Type: \"{kind}\": {refused}"),
                &format!("[0]: expected {kind} on HTTPS listeners only"),
                ": expected the action that answers to have the highest Order",
            ],
        );
    }
    check_actions(
        r#"{"Type": "jwt-validation"}"#,
        &[
            &format!("[0].Type: \"jwt-validation\": {refused}"),
            ": 0 actions that answer, expected one forward, redirect or fixed-response",
            "[0]: expected jwt-validation on HTTPS listeners only",
        ],
    );
    for order in ["0", "50001"] {
        check_actions(
            &two([order, "1"], ["jwt-validation", fixed]),
            &[
                &format!("[0].Order: {order}: expected 1 to 50000"),
                &format!("[0].Type: \"jwt-validation\": {refused}"),
                "[0]: expected jwt-validation on HTTPS listeners only",
            ],
        );
    }
    check_actions(
        r#"{"FixedResponseConfig": {"StatusCode": "200"}}"#,
        &["[0].Type: missing, expected forward, redirect or fixed-response"],
    );
    check_actions(
        r#"{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"},
            "TargetGroupArn": "web", "JwtValidationConfig": {"Issuer": "x"}}"#,
        &[
            "[0].JwtValidationConfig: cannot be had here, clients are not authenticated here yet",
            "[0].TargetGroupArn: expected with Type forward only, not with fixed-response",
        ],
    );
}

#[test]
fn a_forward_names_known_groups() {
    check_actions(
        r#"{"Type": "forward"}"#,
        &["[0].TargetGroupArn: missing, expected it or ForwardConfig with Type forward"],
    );
    let to = |group: &str| format!(r#"{{"Type": "forward", "TargetGroupArn": "{group}"}}"#);
    check_actions(&to("web"), &[]);
    check_actions(&to("arn:blue"), &[]);
    check_actions(
        &to("wbe"),
        &["[0].TargetGroupArn: \"wbe\": unknown target group, did you mean web?"],
    );
    check_actions(
        &to("arn:bleu"),
        &["[0].TargetGroupArn: \"arn:bleu\": unknown target group, did you mean arn:blue?"],
    );
    check_actions(
        &to("something"),
        &["[0].TargetGroupArn: \"something\": unknown target group, expected web, blue or sticky"],
    );
}

/// Checks the groups of a forward.
#[track_caller]
fn check_forward(config: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|line| format!("[0].ForwardConfig{line}")).collect();
    check_actions(
        &format!(r#"{{"Type": "forward", "ForwardConfig": {config}}}"#),
        &expected.iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

#[test]
fn a_forward_has_one_to_five_groups_with_weights() {
    let two = |one: &str, other: &str| {
        format!(
            r#"{{"TargetGroups": [{{"TargetGroupArn": "web", "Weight": {one}}},
                {{"TargetGroupArn": "blue", "Weight": {other}}}]}}"#
        )
    };
    check_forward(&two("10", "20"), &[]);
    check_forward(&two("0", "0"), &[]);
    check_forward(&two("999", "1000"), &[".TargetGroups[1].Weight: 1000: expected 0 to 999"]);
    check_forward("{}", &[".TargetGroups: missing, expected 1 to 5 target groups"]);
    check_forward(r#"{"TargetGroups": []}"#, &[".TargetGroups: 0 target groups: expected 1 to 5"]);
    let six = [r#"{"TargetGroupArn": "web", "Weight": 1}"#; 6].join(", ");
    check_forward(
        &format!(r#"{{"TargetGroups": [{six}]}}"#),
        &[
            ".TargetGroups: 6 target groups: expected 1 to 5",
            ".TargetGroups[1]: web is given twice, expected once",
            ".TargetGroups[2]: web is given twice, expected once",
            ".TargetGroups[3]: web is given twice, expected once",
            ".TargetGroups[4]: web is given twice, expected once",
            ".TargetGroups[5]: web is given twice, expected once",
        ],
    );
    check_forward(
        r#"{"TargetGroups": [{"TargetGroupArn": "web"}, {"TargetGroupArn": "blue", "Weight": 1}, {}]}"#,
        &[
            ".TargetGroups[0].Weight: missing, expected 0 to 999 with several target groups",
            ".TargetGroups[2].TargetGroupArn: missing, expected a target group",
            ".TargetGroups[2].Weight: missing, expected 0 to 999 with several target groups",
        ],
    );
    check_actions(
        r#"{"Type": "forward", "TargetGroupArn": "web",
            "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "blue"}]}}"#,
        &["[0].TargetGroupArn: expected the one group of ForwardConfig, or only one of the two"],
    );
}

#[test]
fn several_groups_of_which_one_is_sticky_need_sticky_groups() {
    let groups = |kept: &str| {
        format!(
            r#"{{"TargetGroups": [{{"TargetGroupArn": "web", "Weight": 1}},
                {{"TargetGroupArn": "sticky", "Weight": 1}}]{kept}}}"#
        )
    };
    let needed = ": expected TargetGroupStickinessConfig with Enabled true, since target group \
                  sticky keeps sessions";
    check_forward(&groups(""), &[needed]);
    check_forward(&groups(r#", "TargetGroupStickinessConfig": {"Enabled": false}"#), &[needed]);
    let refused = ".TargetGroupStickinessConfig.Enabled: true: cannot be had here, clients do not \
                   keep their group yet; expected false";
    check_forward(
        &groups(r#", "TargetGroupStickinessConfig": {"Enabled": true, "DurationSeconds": 60}"#),
        &[refused],
    );
    check_forward(
        &groups(r#", "TargetGroupStickinessConfig": {"Enabled": true}"#),
        &[
            ".TargetGroupStickinessConfig.DurationSeconds: missing, expected 1 to 604800 with \
             Enabled true",
            refused,
        ],
    );
    for seconds in ["0", "604801"] {
        check_forward(
            &format!(
                r#"{{"TargetGroups": [{{"TargetGroupArn": "sticky"}}],
                    "TargetGroupStickinessConfig": {{"Enabled": false, "DurationSeconds": {seconds}}}}}"#
            ),
            &[&format!(
                ".TargetGroupStickinessConfig.DurationSeconds: {seconds}: expected 1 to 604800"
            )],
        );
    }
}

/// Checks a redirect from an HTTP listener at port 80.
#[track_caller]
fn check_redirect(config: &str, expected: &[&str]) {
    let expected: Vec<_> =
        expected.iter().map(|line| format!("[0].RedirectConfig{line}")).collect();
    check_actions(
        &format!(r#"{{"Type": "redirect", "RedirectConfig": {{{config}}}}}"#),
        &expected.iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

#[test]
fn a_redirect_has_parts_that_make_a_location() {
    check_actions(
        r#"{"Type": "redirect"}"#,
        &["[0].RedirectConfig: missing, expected with Type redirect"],
    );
    check_redirect(
        r#""Host": "a.example""#,
        &[".StatusCode: missing, expected HTTP_301 or HTTP_302"],
    );
    check_redirect(
        r#""Host": "a.example", "StatusCode": "301""#,
        &[".StatusCode: \"301\": expected HTTP_301 or HTTP_302"],
    );
    let with = |part: &str, expected: &[&str]| {
        check_redirect(&format!(r#""StatusCode": "HTTP_301", {part}"#), expected);
    };
    with(r#""Protocol": "HTTPS""#, &[]);
    with(
        r#""Protocol": "https""#,
        &[".Protocol: \"https\": expected HTTP, HTTPS or #{protocol}, did you mean HTTPS?"],
    );
    with(r#""Port": 8443"#, &[]);
    with(r##""Port": "#{port}", "Path": "/x""##, &[]);
    for port in ["0", "65536", "\"#{host}\"", "\"\"", "\"080x\""] {
        with(
            &format!(r#""Port": {port}"#),
            &[&format!(".Port: {port}: expected 1 to 65535 or #{{port}}")],
        );
    }
    let host = "expected letters, digits, - . _ and #{host}, or an IPv6 address in brackets";
    with(r##""Host": "new.#{host}""##, &[]);
    with(r#""Host": """#, &[".Host: \"\": expected 1 to 128 characters"]);
    with(r#""Host": "a b""#, &[&format!(".Host: \"a b\": {host}")]);
    with(r##""Host": "#{path}""##, &[&format!(".Host: \"#{{path}}\": {host}")]);
    let path =
        "expected / and visible ASCII characters without ? and #, and #{host}, #{port}, #{path}";
    with(r##""Path": "/new/#{path}""##, &[]);
    with(r#""Path": "new""#, &[&format!(".Path: \"new\": {path}")]);
    with(r#""Path": "/a?b""#, &[&format!(".Path: \"/a?b\": {path}")]);
    with(r##""Path": "/#{query}""##, &[&format!(".Path: \"/#{{query}}\": {path}")]);
    let long = format!("/{}", "a".repeat(128));
    let cut: String = long.chars().take(80).collect();
    with(
        &format!(r#""Path": "{long}""#),
        &[&format!(".Path: \"{cut}\"…: expected 1 to 128 characters")],
    );
    let query = "expected visible ASCII characters without a leading ?, and #{protocol}, #{host}, \
                 #{port}, #{path}, #{query}";
    with(r#""Host": "a", "Query": """#, &[]);
    with(r#""Host": "a", "Query": "?a""#, &[&format!(".Query: \"?a\": {query}")]);
    with(r##""Host": "a", "Query": "#{Query}""##, &[&format!(".Query: \"#{{Query}}\": {query}")]);
}

#[test]
fn a_redirect_leads_somewhere_else() {
    let looping = |config: &str, is_loop: bool| {
        let error = ": expected another protocol, host, port or path than those of the request, \
                     since this one is a loop";
        let expected: &[&str] = if is_loop { &[error] } else { &[] };
        check_redirect(&format!(r#""StatusCode": "HTTP_301"{config}"#), expected);
    };
    looping("", true);
    looping(r#", "Query": "a=b""#, true);
    looping(r##", "Protocol": "#{protocol}", "Host": "#{host}", "Path": "/#{path}""##, true);
    looping(r#", "Protocol": "HTTP", "Port": "80""#, true);
    looping(r#", "Port": "81""#, false);
    looping(r#", "Protocol": "HTTPS""#, false);
    looping(r##", "Path": "/new/#{path}""##, false);
}

#[test]
fn no_redirect_leads_from_https_to_http() {
    check_document(
        r#"{"Listeners": [{"Protocol": "HTTPS", "Port": 443, "DefaultActions": [
            {"Type": "redirect",
             "RedirectConfig": {"Protocol": "HTTP", "Port": "80", "StatusCode": "HTTP_301"}}]}]}"#,
        "Listeners[0].",
        &[
            "Protocol: \"HTTPS\": cannot be had here, there is no TLS yet; expected HTTP",
            "DefaultActions[0].RedirectConfig.Protocol: \"HTTP\": expected HTTPS or #{protocol} on \
             an HTTPS listener",
        ],
    );
}

#[test]
fn a_fixed_response_has_a_status_that_needs_nothing_else() {
    check_actions(
        r#"{"Type": "fixed-response"}"#,
        &["[0].FixedResponseConfig: missing, expected with Type fixed-response"],
    );
    let check = |config: &str, expected: &[&str]| {
        let expected: Vec<_> =
            expected.iter().map(|line| format!("[0].FixedResponseConfig{line}")).collect();
        check_actions(
            &format!(r#"{{"Type": "fixed-response", "FixedResponseConfig": {config}}}"#),
            &expected.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    };
    let status = "expected 200 to 299 or 400 to 599";
    check("{}", &[&format!(".StatusCode: missing, {status}")]);
    check(r#"{"StatusCode": "599"}"#, &[]);
    for code in ["\"302\"", "\"199\"", "\"300\"", "\"600\"", "\"2xx\"", "\"\"", "99999"] {
        check(
            &format!(r#"{{"StatusCode": {code}}}"#),
            &[&format!(".StatusCode: {code}: {status}")],
        );
    }
    check(
        r#"{"StatusCode": "200", "ContentType": "text/plan"}"#,
        &[".ContentType: \"text/plan\": expected text/plain, text/css, text/html, \
           application/javascript or application/json, did you mean text/plain?"],
    );
    let body = |length: usize| {
        format!(r#"{{"StatusCode": "200", "MessageBody": "{}"}}"#, "ä".repeat(length))
    };
    check(&body(1024), &[]);
    let cut = "ä".repeat(80);
    check(&body(1025), &[&format!(".MessageBody: \"{cut}\"…: expected 0 to 1024 characters")]);
}

// Target groups.

#[test]
fn a_target_group_has_a_name_of_its_own_a_protocol_and_a_port() {
    check_whole_group(
        "{}",
        &[
            "TargetGroupName: missing, expected a name for the target group",
            "Protocol: missing, expected HTTP",
            "Port: missing, expected 1 to 65535",
        ],
    );
    let name = "expected 1 to 32 letters, digits and hyphens, none of which is the first, the last \
                or beside another";
    let long = "a".repeat(33);
    for wrong in ["", "-a", "a-", "a--b", "a_b", "a b", "ä", &long] {
        check_whole_group(
            &format!(r#"{{"TargetGroupName": "{wrong}", "Protocol": "HTTP", "Port": 80}}"#),
            &[&format!("TargetGroupName: \"{wrong}\": {name}")],
        );
    }
    check_group(r#""Name": "web""#, &[]);
    check_group(r#""Name": "api""#, &["Name: expected the same as TargetGroupName, or only one"]);
    let group = |name: &str, arn: &str| {
        format!(
            r#"{{"Name": "{name}", "TargetGroupArn": "{arn}", "Protocol": "HTTP", "Port": 80}}"#
        )
    };
    check_whole_group(
        &format!("{}, {}, {}", group("a", "1"), group("b", "1"), group("a", "2")),
        &[
            "TargetGroups[1]: expected no two target groups called 1",
            "TargetGroups[2]: expected no two target groups called a",
        ],
    );
}

#[test]
fn what_cannot_be_reached_yet_is_refused_by_name() {
    let tls = "cannot be had here, there is no TLS yet; expected HTTP";
    check_whole_group(
        r#"{"Name": "web", "Protocol": "HTTPS", "Port": 443}"#,
        &[&format!("Protocol: \"HTTPS\": {tls}")],
    );
    check_whole_group(
        r#"{"Name": "web", "Protocol": "GENEVE", "Port": 6081}"#,
        &[
            "Protocol: \"GENEVE\": cannot be had here, it is for Gateway Load Balancers; expected HTTP",
        ],
    );
    for version in ["HTTP2", "GRPC"] {
        check_group(
            &format!(r#""ProtocolVersion": "{version}""#),
            &[&format!(
                "ProtocolVersion: \"{version}\": cannot be had here, targets are asked by HTTP/1.1 \
                 only, yet; expected HTTP1"
            )],
        );
    }
    check_group(
        r#""TargetType": "lambda""#,
        &["TargetType: \"lambda\": cannot be had here, there are no functions to call here; \
           expected instance or ip"],
    );
    check_group(
        r#""TargetType": "alb""#,
        &["TargetType: \"alb\": cannot be had here, it is for Network Load Balancers; expected \
           instance or ip"],
    );
    check_group(
        r#""TargetControlPort": 3000"#,
        &["TargetControlPort: 3000: cannot be had here, there is no target optimizer"],
    );
    check_group(
        r#""HealthCheckProtocol": "HTTPS""#,
        &[&format!("HealthCheckProtocol: \"HTTPS\": {tls}")],
    );
    check_group(
        r#""Matcher": {"GrpcCode": "0"}"#,
        &[
            "Matcher.GrpcCode: \"0\": cannot be had here, targets are not asked by gRPC yet",
            "Matcher.HttpCode: missing, expected codes and ranges of 200 to 499, such as 200-299,302",
        ],
    );
}

#[test]
fn health_checks_keep_to_albs_ranges() {
    let numbers = [
        ("HealthCheckIntervalSeconds", [4, 301], "5 to 300"),
        ("HealthCheckTimeoutSeconds", [1, 121], "2 to 120"),
        ("HealthyThresholdCount", [1, 11], "2 to 10"),
        ("UnhealthyThresholdCount", [1, 11], "2 to 10"),
    ];
    for (field, wrong, range) in numbers {
        for value in wrong {
            check_group(
                &format!(r#""{field}": {value}"#),
                &[&format!("{field}: {value}: expected {range}")],
            );
        }
    }
    check_group(r#""HealthCheckIntervalSeconds": 6"#, &[]);
    // The timeout is 5 if it is not given.
    check_group(
        r#""HealthCheckIntervalSeconds": 5"#,
        &["HealthCheckTimeoutSeconds: 5: expected less than HealthCheckIntervalSeconds, 5"],
    );
    check_group(
        r#""HealthCheckTimeoutSeconds": 30"#,
        &["HealthCheckTimeoutSeconds: 30: expected less than HealthCheckIntervalSeconds, 30"],
    );
    check_group(
        r#""HealthCheckEnabled": false"#,
        &["HealthCheckEnabled: false: expected true, since targets are always checked"],
    );
    check_group(
        r#""HealthCheckEnabled": "true""#,
        &["HealthCheckEnabled: \"true\": expected true or false"],
    );
    for port in ["0", "65536", "\"traffic\""] {
        check_group(
            &format!(r#""HealthCheckPort": {port}"#),
            &[&format!("HealthCheckPort: {port}: expected traffic-port or 1 to 65535")],
        );
    }
    for path in ["", "health", "/a b", "/#a"] {
        check_group(
            &format!(r#""HealthCheckPath": "{path}""#),
            &[&format!(
                "HealthCheckPath: \"{path}\": expected / and up to 1023 visible ASCII characters \
                 that a path can hold"
            )],
        );
    }
    for matcher in ["", "199", "500", "200-500", "300-200", "200,", "200 ,202", "2xx", "200-"] {
        check_group(
            &format!(r#""Matcher": {{"HttpCode": "{matcher}"}}"#),
            &[&format!(
                "Matcher.HttpCode: \"{matcher}\": expected codes and ranges of 200 to 499, such as \
                 200-299,302"
            )],
        );
    }
}

#[test]
fn a_target_is_an_address_or_a_name() {
    let check = |target: &str, expected: &[&str]| {
        check_group(&format!(r#""Targets": [{target}]"#), expected);
    };
    check(r#"{"Id": "app"}"#, &[]);
    check(r#"{"Id": "i-nside.example"}"#, &[]);
    check(r#"{"Id": "::1", "Port": 1}"#, &[]);
    check("{}", &["Targets[0].Id: missing, expected an address or a host name"]);
    for id in ["10.0.0.1:80", "[::1]:80", "10.0.0.256", "a b", "http://a", "", "arn:aws:lambda:x"] {
        check(
            &format!(r#"{{"Id": "{id}"}}"#),
            &[&format!(
                "Targets[0].Id: \"{id}\": expected an address or a host name; its port stands in Port"
            )],
        );
    }
    for id in ["i-0123456789abcdef0", "i-12ab"] {
        check(
            &format!(r#"{{"Id": "{id}"}}"#),
            &[&format!(
                "Targets[0].Id: \"{id}\": expected an address or a host name, such as the \
                 instance's private address; its id leads nowhere outside EC2"
            )],
        );
    }
    check(r#"{"Id": "10.0.0.1", "Port": 0}"#, &["Targets[0].Port: 0: expected 1 to 65535"]);
    check(
        r#"{"Id": "10.0.0.1", "QuicServerId": "0x1"}"#,
        &["Targets[0].QuicServerId: \"0x1\": cannot be had here, it is for Network Load Balancers"],
    );
    check(
        r#"{"Id": "App"}, {"Id": "app", "Port": 80}, {"Id": "app", "Port": 81}"#,
        &["Targets[1]: app:80 is given twice, expected once"],
    );
}

// Attributes.

#[test]
fn attributes_have_albs_ranges() {
    let group = |key: &str, values: &[&str], range: &str| {
        for value in values {
            check_attribute("TargetGroupAttributes", key, value, &[&format!("expected {range}")]);
        }
    };
    group("deregistration_delay.timeout_seconds", &["-1", "3601", "", "1.5", "x"], "0 to 3600");
    group("stickiness.enabled", &["TRUE", "1", "on", ""], "true or false");
    group("stickiness.type", &["source_ip", "cookie"], "lb_cookie or app_cookie");
    group("stickiness.lb_cookie.duration_seconds", &["0", "604801"], "1 to 604800");
    group("stickiness.app_cookie.duration_seconds", &["0", "604801"], "1 to 604800");
    group(
        "stickiness.app_cookie.cookie_name",
        &["AWSALB", "AWSALBAPP-0", "AWSALBTG", "a b"],
        "a name of a cookie that does not begin with AWSALB",
    );
    group(
        "load_balancing.algorithm.type",
        &["random"],
        "round_robin, least_outstanding_requests or weighted_random",
    );
    group("slow_start.duration_seconds", &["1", "29", "901"], "0 or 30 to 900");
    let minimum = "minimum_healthy_targets";
    for of in ["dns_failover", "unhealthy_state_routing"] {
        let key = format!("target_group_health.{of}.{minimum}.percentage");
        group(&key, &["0", "101"], "off or 1 to 100");
    }
    let key = format!("target_group_health.unhealthy_state_routing.{minimum}.count");
    group(&key, &["0", "off"], "1 or more");
    let key = format!("target_group_health.dns_failover.{minimum}.count");
    group(&key, &["0"], "off or 1 or more");

    let balancer = |key: &str, value: &str, expected: &str| {
        check_attribute("LoadBalancerAttributes", key, value, &[&format!("expected {expected}")]);
    };
    balancer("idle_timeout.timeout_seconds", "0", "1 to 4000");
    balancer("idle_timeout.timeout_seconds", "4001", "1 to 4000");
    balancer("client_keep_alive.seconds", "59", "60 to 604800");
    balancer("access_logs.s3.prefix", "x/AWSLogs", "up to 1024 characters without AWSLogs");
    balancer("routing.http2.enabled", "no", "true or false");

    check_attribute(
        "ListenerAttributes",
        "routing.http.request.x_amzn_tls_version.header_name",
        "a b",
        &["expected a name of a header field"],
    );
    check_attribute(
        "ListenerAttributes",
        "routing.http.response.x_frame_options.header_value",
        "ä",
        &["expected up to 1024 letters, digits, spaces and _:;.,\\/'?!(){}[]@<>=-+*#&~^%|`"],
    );
}

#[test]
fn what_would_change_the_answer_is_refused_by_name() {
    let group = |key: &str, value: &str, why: &str| {
        let why = format!("cannot be had here, {why}");
        check_attribute("TargetGroupAttributes", key, value, &[&why]);
    };
    group(
        "stickiness.type",
        "app_cookie",
        "sessions are not kept by an application's cookie yet; expected lb_cookie",
    );
    group(
        "load_balancing.algorithm.type",
        "weighted_random",
        "it is not here yet; expected round_robin or least_outstanding_requests",
    );
    group(
        "load_balancing.algorithm.anomaly_mitigation",
        "on",
        "targets that stand out by errors are not noticed yet; expected off",
    );
    group(
        "load_balancing.cross_zone.enabled",
        "false",
        "there are no zones here; expected true or use_load_balancer_configuration",
    );
    group("slow_start.duration_seconds", "30", "targets do not start slowly yet; expected 0");
    let routing = "target_group_health.unhealthy_state_routing.minimum_healthy_targets";
    let why = "all targets get traffic only when none is healthy, yet; expected";
    group(&format!("{routing}.count"), "2", &format!("{why} 1"));
    group(&format!("{routing}.percentage"), "50", &format!("{why} off"));
    group("lambda.multi_value_headers.enabled", "false", "it is for groups of functions");
    group("preserve_client_ip.enabled", "true", "it is for Network Load Balancers");
    group("proxy_protocol_v2.enabled", "true", "it is for Network Load Balancers");
    group("target_failover.on_unhealthy", "rebalance", "it is for Gateway Load Balancers");

    let balancer = |key: &str, value: &str, why: &str| {
        let why = format!("cannot be had here, {why}");
        check_attribute("LoadBalancerAttributes", key, value, &[&why]);
    };
    for (key, why) in [
        (
            "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
            "there is no TLS yet, so that no such field is written",
        ),
        ("ipv6.deny_all_igw_traffic", "say in SecurityGroups who may connect"),
    ] {
        balancer(key, "true", &format!("{why}; expected false"));
    }
    balancer("load_balancing.cross_zone.enabled", "false", "it cannot be changed; expected true");
    balancer(
        "dns_record.client_routing_policy",
        "any_availability_zone",
        "it is for Network Load Balancers",
    );

    for name in [
        "strict_transport_security",
        "access_control_allow_origin",
        "access_control_allow_methods",
        "access_control_allow_headers",
        "access_control_allow_credentials",
        "access_control_expose_headers",
        "access_control_max_age",
        "content_security_policy",
        "x_content_type_options",
        "x_frame_options",
    ] {
        check_attribute(
            "ListenerAttributes",
            &format!("routing.http.response.{name}.header_value"),
            "x",
            &["cannot be had here, answers are not changed yet; expected nothing"],
        );
    }
    check_attribute(
        "ListenerAttributes",
        "tcp.idle_timeout.seconds",
        "350",
        &["cannot be had here, it is for Network Load Balancers"],
    );
}

#[test]
fn an_attribute_is_a_known_key_once_and_a_text() {
    check_group(
        r#""TargetGroupAttributes": [
            {"Key": "stickiness.enabled", "Value": true},
            {"Key": "stickines.enabled", "Value": "true"},
            {"Key": "x", "Value": "true"},
            {"Value": "true"},
            {"Key": "stickiness.enabled", "Value": "true"},
            {"Key": "stickiness.enabled", "Value": "true"},
            {"Key": "idle_timeout.timeout_seconds", "Value": "60"}
        ]"#,
        &[
            "TargetGroupAttributes[0].Value: true: expected a text",
            "TargetGroupAttributes[1].Key: \"stickines.enabled\": unknown attribute, did you mean \
             stickiness.enabled?",
            "TargetGroupAttributes[2].Key: \"x\": unknown attribute",
            "TargetGroupAttributes[3].Key: missing, expected the name of an attribute",
            "TargetGroupAttributes[5] stickiness.enabled: \"true\": given twice, expected once",
            "TargetGroupAttributes[6].Key: \"idle_timeout.timeout_seconds\": unknown attribute",
        ],
    );
    check_document(
        &format!(
            r#"{{"LoadBalancerAttributes": [{{"Key": "access_logs.s3.enabled", "Value": "true"}}],
                "Listeners": [{{"Protocol": "HTTP", "Port": 80, "DefaultActions": [{OK}]}}]}}"#
        ),
        "",
        &["LoadBalancerAttributes access_logs.s3.bucket: missing, expected with \
           access_logs.s3.enabled"],
    );
}
