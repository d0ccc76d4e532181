//! Holds what the compiler does not: the rule of floors, and a few habits that are easy to forget.
//!
//! The files and folders directly under `src/` form one list, [`FLOORS`]; each may import only from
//! those below it. Inside a folder there are no circles either. What counts as an import is read
//! from tokens, without a parser: `use` trees, paths in code, and what a name is re-exported from.
//! Comments, documentation and strings do not count.
//!
//! Tests in `src/` keep to the floors as well: one that needs a higher floor belongs to that floor,
//! or here in `tests/`. Inside a folder they are free, so that a `mod.rs` can test all its children.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test says what is wrong by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::Path,
    process::Command,
};

/// What stands directly under `src/`, from the top down.
const FLOORS: [&str; 25] = [
    "gateway",
    "server",
    "balancer",
    "layer",
    "check",
    "rule",
    "group",
    "algorithm",
    "stickiness",
    "probe",
    "target",
    "health",
    "endpoint",
    "proxy",
    "error",
    "body",
    "lease",
    "outcome",
    "id",
    "head",
    "cidr",
    "field",
    "grammar",
    "clock",
    "rng",
];

/// A file with more lines than this before its tests holds more than one idea. The habit is 400; the
/// rest is room for the day on which a file grows over it.
const LINES_MAX: usize = 450;

/// Macros that say a thing is not finished.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Texts that no file holds, put together here so that this one does not either: what is left to be
/// mended.
const MENDING: &str = concat!("FIX", "ME");

/// Places on the machine of whoever wrote it, which mean nothing to anybody else.
const PRIVATE_PLACES: [&str; 2] = [concat!("/", "work"), concat!("..", "/shared")];

// The tree as it is.

#[test]
fn every_module_imports_only_from_floors_below() {
    let sources = sources("src/");
    assert!(sources.len() > 10, "only {} files were read", sources.len());
    let files = read_all(&sources);
    let imports = files.iter().flat_map(|file| &file.uses).count();
    assert!(imports > 20, "only {imports} imports were read");
    none(&floors(&files));
}

#[test]
fn the_root_declares_its_modules_in_the_order_of_the_floors() {
    none(&order(&sources("src/")));
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let findings: Vec<Finding> = sources("src/").iter().flat_map(shape).collect();
    none(&findings);
}

#[test]
fn nothing_is_left_unfinished() {
    let findings: Vec<Finding> = sources("").iter().flat_map(unfinished).collect();
    none(&findings);
}

#[test]
fn nothing_names_places_on_one_machine() {
    let findings: Vec<Finding> = sources("").iter().flat_map(private_places).collect();
    none(&findings);
}

/// Files that list the defaults of a type, whose bounds stand in one table for all.
const WITH_DEFAULTS: [(&str, &str); 6] = [
    ("ServerBuilder", "src/server/mod.rs"),
    ("HttpOptions", "src/proxy/options.rs"),
    ("Transport", "src/endpoint/transport.rs"),
    ("TargetGroupBuilder", "src/group/builder.rs"),
    ("RetryPolicy", "src/group/retry_policy.rs"),
    ("HealthCheck", "src/group/health_check.rs"),
];

#[test]
fn every_limit_stands_in_the_table_of_all_with_its_default() {
    let read = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        fs::read_to_string(&path).expect("a file that is here")
    };
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim_start_matches("/// ");
        line.split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let is_limit = |name: &str| {
        !name.starts_with("on_")
            && ["_timeout", "_max", "_delay"].iter().any(|end| name.ends_with(end))
            || ["client_keep_alive", "interval", "timeout"].contains(&name)
    };
    let table = read("src/limits.md");
    let table: BTreeSet<_> = table.lines().map(cells).filter(|row| row.len() > 4).collect();
    let mut missing = Vec::new();
    let mut found = 0;
    for (of, path) in WITH_DEFAULTS {
        let file = read(path);
        let rows = file.lines().filter(|line| line.starts_with("/// | `")).map(cells);
        for row in rows.filter(|row| row.len() > 3 && is_limit(&row[1])) {
            found += 1;
            let (name, default) = (&row[1], &row[2]);
            let same =
                |all: &&Vec<String>| all[1].contains(of) && all[2] == *name && all[3] == *default;
            if !table.iter().any(|all| same(&all)) {
                missing.push(format!("{of}::{name}, which is {default} in {path}"));
            }
        }
    }
    assert!(found >= 15, "only {found} limits were found");
    assert!(missing.is_empty(), "not in src/limits.md: {missing:#?}");
}

/// Rows of the table of all whose default is a number in code, which `Debug` shows: the type, the
/// setting, and what the field is called.
const IN_CODE: [(&str, &str, &str); 22] = [
    ("ServerBuilder", "head_timeout", "head"),
    ("ServerBuilder", "idle_timeout", "idle"),
    ("ServerBuilder", "client_keep_alive", "keep_alive"),
    ("ServerBuilder", "drain_timeout", "drain_timeout"),
    ("HttpOptions", "uri_size_max", "uri"),
    ("HttpOptions", "header_size_max", "header"),
    ("HttpOptions", "headers_size_max", "headers"),
    ("HttpOptions", "headers_max", "header_count"),
    ("HttpOptions", "forwarded_for_max", "forwarded_for"),
    ("HttpOptions", "body_size_max", "body"),
    ("HttpOptions", "request_timeout", "request_timeout"),
    ("Transport", "connect_timeout", "connect_timeout"),
    ("Transport", "answer_timeout", "answer_timeout"),
    ("Transport", "idle_timeout", "idle_timeout"),
    ("Transport", "connections_idle_max", "connections_idle_max"),
    ("Transport", "connection_idle_timeout", "connection_idle_timeout"),
    ("TargetGroupBuilder", "deregistration_delay", "deregistration_delay"),
    ("RetryPolicy", "attempts_max", "attempts_max"),
    ("RetryPolicy", "replay_max", "replay_max"),
    ("RetryPolicy", "budget_percent", "budget_percent"),
    ("RetryPolicy", "budget_floor", "budget_floor"),
    ("HealthCheck", "interval", "interval"),
];

#[test]
fn the_defaults_in_the_table_are_those_of_the_code() {
    use pointsman::{HealthCheck, TargetGroup, endpoint::Transport, group::RetryPolicy};
    let shown = BTreeMap::from([
        ("HttpOptions", format!("{:?}", pointsman::proxy::HttpOptions::new())),
        ("Transport", format!("{:?}", Transport::new())),
        ("TargetGroupBuilder", format!("{:?}", TargetGroup::builder("web"))),
        ("RetryPolicy", format!("{:?}", RetryPolicy::new())),
        ("HealthCheck", format!("{:?}", HealthCheck::http("/"))),
        #[cfg(feature = "server")]
        ("ServerBuilder", format!("{:?}", pointsman::server::Server::builder())),
    ]);
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/limits.md"));
    let table = table.expect("a file that is here");
    for (of, setting, field) in IN_CODE {
        let Some(shown) = shown.get(of) else { continue };
        let row =
            table.lines().find(|row| row.contains(of) && row.contains(&format!("`{setting}`")));
        let default = row.and_then(|row| row.split('|').nth(3)).expect("a row of the table").trim();
        let mut words = default.split([' ', ',']);
        let number = words.next().expect("a word");
        let times = |factor: u64| {
            let number = number.parse::<u64>().expect("a number");
            (number * factor).to_string()
        };
        let expected = match words.next() {
            Some("s") => times(1) + "s",
            Some("h") => times(3600) + "s",
            Some("KiB") => times(1024),
            _ if number == "none" => "None".to_owned(),
            _ => times(1),
        };
        let text = format!(" {field}: {expected}");
        let found = shown.split_once(&text).is_some_and(|(_, rest)| rest.starts_with([',', ' ']));
        assert!(found, "{of}::{setting} is {default} in the table, and in the code: {shown}");
    }
}

/// Whoever asks for the time of day can be told of a leap, so that nothing that waits may ask.
#[test]
fn only_the_clock_asks_for_the_time_of_day() {
    let asks = |source: &&Source| {
        let tokens = tokens(&source.text);
        let end = tests_line(&tokens).unwrap_or(usize::MAX);
        let words = tokens.iter().filter(|token| token.line < end);
        let words = words.map(|token| &*token.text).collect::<Vec<_>>();
        // tokio's clock, which tests can stop, has an `Instant` too.
        let imports = words.split(|word| *word == ";").filter_map(|words| {
            words.split(|word| *word == "use").nth(1).filter(|words| words.starts_with(&["std"]))
        });
        words.windows(3).any(|three| three == ["SystemTime", "::", "now"])
            || words.windows(5).any(|all| all == ["std", "::", "time", "::", "Instant"])
            || imports.flatten().any(|word| *word == "Instant")
    };
    let sources = sources("src/");
    let asking = sources.iter().filter(|source| !is_tests(&source.path)).filter(asks);
    // The timer that hyper is given has instants of the standard library in its signature.
    let asking = asking.map(|source| &*source.path).collect::<Vec<_>>();
    assert_eq!(asking, ["src/clock.rs", "src/server/watch.rs"]);
}

// The checker itself.

#[test]
fn an_import_from_above_is_found() {
    check(
        &[("src/group/mod.rs", "\n\nuse crate::rule::Rule;"), ("src/rule/mod.rs", "")],
        &["src/group/mod.rs:3: `crate::rule::Rule`: `rule` stands above `group`"],
    );
}

#[test]
fn an_import_from_below_is_fine() {
    check(&[("src/rule/mod.rs", "use crate::group::TargetGroup;")], &[]);
    check(&[("src/lib.rs", "pub use gateway::Gateway; mod gateway;")], &[]);
}

#[test]
fn a_nested_use_is_split() {
    check(
        &[(
            "src/error.rs",
            "use crate::{\n    body::Body,\n    layer::{self, select::{Select}},\n};",
        )],
        &[
            "src/error.rs:3: `crate::layer::self`: `layer` stands above `error`",
            "src/error.rs:3: `crate::layer::select::Select`: `layer` stands above `error`",
        ],
    );
}

#[test]
fn a_path_in_code_counts() {
    check(
        &[("src/id.rs", "fn f() -> crate::error::Error {\n    <crate::body::Body as X>::new()\n}")],
        &[
            "src/id.rs:1: `crate::error::Error`: `error` stands above `id`",
            "src/id.rs:2: `crate::body::Body`: `body` stands above `id`",
        ],
    );
    check(
        &[("src/id.rs", "macro_rules! m { () => { $crate::error::Error } }")],
        &["src/id.rs:1: `crate::error::Error`: `error` stands above `id`"],
    );
}

#[test]
fn comments_docs_and_strings_do_not_count() {
    check(
        &[(
            "src/id.rs",
            r###"//! [`crate::error::Error`]
            /// See [`crate::rule`], or
            /// ```
            /// use crate::rule::Rule;
            /// ```
            // use crate::rule::Rule;
            /* use crate::rule::Rule; /* nested */ crate::rule::Rule */
            const A: &str = "crate::rule::Rule \" crate::rule::Rule";
            const B: &str = r#"crate::rule::Rule " crate::rule::Rule"#;
            const C: &[u8] = b"crate::rule::Rule";
            const D: char = '"';
            const E: char = '\'';
            fn f<'a>(a: &'a str) -> Option<char> { a.chars().next() }
            const F: &str = "crate::rule::Rule";
            "###,
        )],
        &[],
    );
}

#[test]
fn code_after_quotes_and_comments_still_counts() {
    let lines = [
        "const A: char = '\"';",
        "const A: char = '\\\"';",
        "const B: &str = r##\"a\"# \"##;",
        "fn f<'a>(a: &'a str) {} /* \" */",
        "const C: &str = \"// \\\\\"; // \"",
        "const D: u8 = b'\\''; const r#type: f32 = 1.0e3;",
    ];
    for line in lines {
        check(
            &[("src/id.rs", &format!("{line}\nuse crate::error::Error;"))],
            &["src/id.rs:2: `crate::error::Error`: `error` stands above `id`"],
        );
    }
}

#[test]
fn a_re_export_of_the_root_counts_as_the_module_it_is_from() {
    let root = "pub mod body; pub mod rule; pub use body::Body;\npub use self::rule::{Rule as R};";
    check(
        &[
            ("src/lib.rs", root),
            ("src/body.rs", ""),
            ("src/rule/mod.rs", "use crate::Body;"),
            ("src/lease.rs", "use crate::Body;"),
            ("src/target.rs", "fn f(_: crate::R) {}"),
        ],
        &[
            "src/lease.rs:1: `crate::Body`: `body` stands above `lease`",
            "src/target.rs:1: `crate::R`: `rule` stands above `target`",
        ],
    );
}

#[test]
fn what_stands_in_the_root_itself_is_not_for_modules() {
    let why = "the root holds no items of its own, and no module of the list has this name";
    check(
        &[("src/lib.rs", "pub use body::*; mod body;"), ("src/error.rs", "use crate::Thing;")],
        &[&format!("src/error.rs:1: `crate::Thing`: {why}")],
    );
    check(
        &[("src/error.rs", "use crate::*; use super::*; use crate as root;")],
        &[
            "src/error.rs:1: `crate::*`: what is taken from `crate` must be named",
            "src/error.rs:1: `super::*`: what is taken from `crate` must be named",
            "src/error.rs:1: `crate`: what is taken from `crate` must be named",
        ],
    );
}

#[test]
fn super_is_followed() {
    check(
        &[("src/group/roster.rs", "use super::super::rule::Rule;")],
        &["src/group/roster.rs:1: `super::super::rule::Rule`: `rule` stands above `group`"],
    );
    check(
        &[("src/group/roster.rs", "mod inner { use super::super::super::rule::Rule; }")],
        &["src/group/roster.rs:1: `super::super::super::rule::Rule`: `rule` stands above `group`"],
    );
    check(
        &[("src/id.rs", "use super::error::Error;"), ("src/error.rs", "use super::id::Id;")],
        &["src/id.rs:1: `super::error::Error`: `error` stands above `id`"],
    );
}

#[test]
fn a_visibility_is_not_an_import() {
    check(
        &[
            ("src/group/mod.rs", "mod roster; use self::roster::Roster;"),
            ("src/group/roster.rs", "pub(in crate::group) struct Roster; pub(in super) fn f() {}"),
        ],
        &[],
    );
}

#[test]
fn tests_keep_to_the_floors() {
    check(
        &[
            (
                "src/id.rs",
                "#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::rule::Rule;\n}",
            ),
            ("src/body/tests.rs", "use super::*; use super::super::rule::Rule;"),
            ("src/lease_tests.rs", "use super::lease::Load; use super::body::Body;"),
        ],
        &[
            "src/id.rs:4: `crate::rule::Rule`: `rule` stands above `id`",
            "src/body/tests.rs:1: `super::super::rule::Rule`: `rule` stands above `body`",
            "src/lease_tests.rs:1: `super::body::Body`: `body` stands above `lease`",
        ],
    );
    check(
        &[
            ("src/lease.rs", "#[cfg(test)] #[path = \"lease_tests.rs\"] mod tests;"),
            ("src/lease_tests.rs", "use super::Load; use super::super::body::Body;"),
        ],
        &["src/lease_tests.rs:1: `super::super::body::Body`: `body` stands above `lease`"],
    );
}

#[test]
fn a_module_outside_the_list_is_found() {
    check(
        &[("src/util/strings.rs", ""), ("src/id.rs", "use crate::util::X;")],
        &[
            "src/util/strings.rs:1: `util`: it is not in the list of floors in tests/tidy.rs",
            "src/id.rs:1: `crate::util::X`: the root holds no items of its own, and no module of \
             the list has this name",
        ],
    );
}

#[test]
fn a_circle_of_siblings_is_found() {
    check(
        &[
            ("src/endpoint/mod.rs", "mod a; mod b; mod c; mod d;"),
            ("src/endpoint/a.rs", "use super::b::B;"),
            ("src/endpoint/b.rs", "\nuse crate::endpoint::c::C;"),
            ("src/endpoint/c/mod.rs", "mod deep; use super::d::D;"),
            ("src/endpoint/c/deep.rs", "fn f() { super::super::a::f() }"),
            ("src/endpoint/d.rs", ""),
        ],
        &[
            "src/endpoint/a.rs:1: `super::b::B`: a circle inside `endpoint`: a → b → c → a",
            "src/endpoint/b.rs:2: `crate::endpoint::c::C`: a circle inside `endpoint`: b → c → a → b",
            "src/endpoint/c/deep.rs:1: `super::super::a::f`: a circle inside `endpoint`: \
             c → a → b → c",
        ],
    );
}

#[test]
fn siblings_without_a_circle_are_fine() {
    check(
        &[
            ("src/endpoint/mod.rs", "mod a; mod b; use self::a::A;"),
            ("src/endpoint/a.rs", "use super::b::B; #[cfg(test)] mod tests { use super::*; }"),
            (
                "src/endpoint/b.rs",
                "#[cfg(all(test, feature = \"x\"))] mod tests { use crate::endpoint::a::A; }",
            ),
        ],
        &[],
    );
}

#[test]
fn a_name_a_folder_imports_counts_as_the_child_it_is_from() {
    check(
        &[
            (
                "src/endpoint/mod.rs",
                "mod a; mod b; pub use self::a::A; pub use b::B; use http::Uri;",
            ),
            ("src/endpoint/a.rs", "use super::B;"),
            ("src/endpoint/b.rs", "use crate::endpoint::A; use super::Uri;"),
        ],
        &[
            "src/endpoint/a.rs:1: `super::B`: a circle inside `endpoint`: a → b → a",
            "src/endpoint/b.rs:1: `crate::endpoint::A`: a circle inside `endpoint`: b → a → b",
        ],
    );
}

#[test]
fn a_re_export_of_a_re_export_is_followed() {
    check(
        &[
            ("src/lib.rs", "mod endpoint; pub use endpoint::B as Other;"),
            ("src/endpoint/mod.rs", "mod a; mod b; pub use self::a::A; pub use self::b::B;"),
            ("src/endpoint/a.rs", "use crate::Other;"),
            ("src/endpoint/b.rs", "use super::A;"),
        ],
        &[
            "src/endpoint/a.rs:1: `crate::Other`: a circle inside `endpoint`: a → b → a",
            "src/endpoint/b.rs:1: `super::A`: a circle inside `endpoint`: b → a → b",
        ],
    );
}

#[test]
fn what_a_folder_imports_from_another_crate_is_not_its_own() {
    check(
        &[
            ("src/endpoint/mod.rs", "mod a; use self::a::A; use http::Uri;"),
            ("src/endpoint/a.rs", "use super::Uri;"),
        ],
        &[],
    );
}

#[test]
fn children_may_share_what_a_mere_table_of_contents_defines() {
    let children = ("src/algorithm/round_robin.rs", "use super::{Algorithm, Pick};");
    check(
        &[
            ("src/algorithm/mod.rs", "mod round_robin; pub use self::round_robin::RoundRobin;"),
            children,
        ],
        &[],
    );
    let tests = "mod round_robin; pub use round_robin::RoundRobin; trait Algorithm {}
        #[cfg(test)] mod tests { use super::*; fn f() { let _ = RoundRobin; } }";
    check(&[("src/algorithm/mod.rs", tests), children], &[]);
}

#[test]
fn children_may_not_import_from_a_mod_rs_that_uses_them() {
    let uses = [
        "mod roster;\nuse self::roster::Roster;",
        "mod roster;\nfn f() { roster::f() }",
        "mod roster;\npub use self::roster::Roster; struct Group(Roster);",
        "mod roster;\npub(crate) use roster::Roster; fn f() -> Roster {}",
    ];
    for group in uses {
        let findings =
            found(&[("src/group/mod.rs", group), ("src/group/roster.rs", "use super::Group;")]);
        assert_eq!(findings.len(), 1, "{group}: {findings:?}");
        let expected = "src/group/roster.rs:1: `super::Group`: src/group/mod.rs:2 uses its children, \
                        so what children share belongs into a child of its own";
        assert_eq!(findings, [expected]);
    }
}

#[test]
fn a_glob_hides_what_it_takes_from_above() {
    check(
        &[("src/group/roster.rs", "use super::*;"), ("src/group/mod.rs", "mod roster;")],
        &["src/group/roster.rs:1: `super::*`: what is taken from `group` must be named"],
    );
    check(&[("src/group/roster.rs", "enum E { A } use self::E::*; mod m { use super::*; }")], &[]);
}

#[test]
fn capturing_lifetimes_is_not_an_import() {
    check(
        &[("src/id.rs", "fn f<'a>() -> impl Sized + use<'a> { crate::error::f() }")],
        &["src/id.rs:1: `crate::error::f`: `error` stands above `id`"],
    );
}

#[test]
fn modules_out_of_order_are_found() {
    let root = |text: &str| {
        let source = Source { path: "src/lib.rs".into(), text: text.into() };
        order(&[source]).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(root("pub mod rule;\n#[cfg(x)]\nmod body;\n#[cfg(test)]\nmod a;"), [""; 0]);
    assert_eq!(
        root("mod body;\npub(crate) mod rule;\nmod thing;"),
        [
            "src/lib.rs:2: `rule`: it stands above `body` in the list of floors",
            "src/lib.rs:3: `thing`: it is not in the list of floors in tests/tidy.rs",
        ]
    );
}

#[test]
fn files_without_a_header_or_too_long_are_found() {
    let findings = |path: &str, text: String| {
        let source = Source { path: path.into(), text };
        shape(&source).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let long = format!("//! A\n{}", "\n".repeat(LINES_MAX));
    assert_eq!(findings("src/id.rs", "//! A".into()), [""; 0]);
    assert_eq!(
        findings("src/id.rs", "use x;".into()),
        [
            "src/id.rs:1: `use x;`: a file starts with `//!`: what it decides, what it leaves to whom"
        ]
    );
    assert_eq!(findings("src/id/tests.rs", long.clone()), [""; 0]);
    assert_eq!(findings("src/id_tests.rs", long.clone()), [""; 0]);
    assert_eq!(
        findings("src/id.rs", long.clone()),
        ["src/id.rs:451: `451 lines`: no more than 450 before its tests; split the file"]
    );
    let tested = format!("//! A\n#[cfg(test)]\nmod tests {{\n{}}}", "\n".repeat(LINES_MAX));
    assert_eq!(findings("src/id.rs", tested), [""; 0]);
    // A helper for tests in the middle of a file does not end what is counted.
    let helper = format!("//! A\n#[cfg(test)]\nfn f() {{}}\n{}", "\n".repeat(LINES_MAX));
    assert_eq!(findings("src/id.rs", helper).len(), 1);
}

#[test]
fn unfinished_work_is_found() {
    let findings = |text: &str| {
        let source = Source { path: "src/id.rs".into(), text: text.into() };
        unfinished(&source).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(findings("// todo!() \nconst A: &str = \"dbg!\"; fn todo() {}"), [""; 0]);
    assert_eq!(
        findings("\nfn f() { todo!() }\n#[ignore = \"slow\"]"),
        [
            "src/id.rs:2: `todo!`: it is unfinished",
            "src/id.rs:3: `#[ignore`: a test runs or is deleted"
        ]
    );
    let mending = format!("\n// {MENDING}: x");
    assert_eq!(findings(&mending), [format!("src/id.rs:2: `{MENDING}`: mend it")]);
}

#[test]
fn private_places_are_found_outside_hidden_files() {
    let findings = |path: &str, text: &str| {
        let [work, shared] = PRIVATE_PLACES;
        let text = text.replace("WORK", work).replace("SHARED", shared);
        private_places(&Source { path: path.into(), text }).len()
    };
    assert_eq!(findings("README.md", "see WORK/x"), 1);
    assert_eq!(findings("README.md", "cd WORK\ncat SHARED/x"), 2);
    assert_eq!(findings("README.md", "a frameWORK WORKer https://host/aWORK WORKs"), 0);
    assert_eq!(findings(".ci/run", "cd WORK"), 0);
    assert_eq!(findings("a/.b", "cd WORK"), 0);
}

fn check(sources: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(found(sources), expected);
}

fn found(sources: &[(&str, &str)]) -> Vec<String> {
    let source =
        |(path, text): &(&str, &str)| Source { path: (*path).into(), text: (*text).into() };
    let sources: Vec<Source> = sources.iter().map(source).collect();
    floors(&read_all(&sources)).iter().map(ToString::to_string).collect()
}

fn none(findings: &[Finding]) {
    let text: String = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    assert!(findings.is_empty(), "{} found:{text}", findings.len());
}

// What is checked.

struct Finding {
    file: String,
    line: usize,
    what: String,
    why: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what, why } = self;
        write!(f, "{file}:{line}: `{what}`: {why}")
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const NOT_LISTED: &str = "it is not in the list of floors in tests/tidy.rs";

/// Returns how far down the list a name stands.
fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == name.strip_suffix("_tests").unwrap_or(name))
}

/// The rule of floors: between what stands directly under `src/`, and inside each folder.
fn floors(files: &[File]) -> Vec<Finding> {
    let modules: BTreeMap<&[String], &File> =
        files.iter().map(|file| (file.module.as_slice(), file)).collect();
    let mut findings = Vec::new();
    let mut folders: BTreeMap<Vec<String>, Folder<'_>> = BTreeMap::new();
    for file in files {
        let Some(own) = file.module.first() else { continue };
        let Some(own_floor) = floor(own) else {
            findings.push(file.finding(1, own, NOT_LISTED));
            continue;
        };
        for import in &file.uses {
            let Some(to) = resolve(&import.to, &modules) else { continue };
            let hides = to.is_empty() || !import.test && to.len() < file.module.len();
            if hides && file.module.starts_with(&to) {
                let from = to.last().map_or("crate", |name| name.as_str());
                let why = format!("what is taken from `{from}` must be named");
                findings.push(file.finding(import.line, &import.written, &why));
                continue;
            }
            match to.first().and_then(|name| floor(name)) {
                None => {
                    let why = "the root holds no items of its own, and no module of the list has \
                               this name";
                    findings.push(file.finding(import.line, &import.written, why));
                }
                Some(other) if other < own_floor => {
                    let why = format!("`{}` stands above `{}`", FLOORS[other], FLOORS[own_floor]);
                    findings.push(file.finding(import.line, &import.written, &why));
                }
                // What lies inside one folder.
                Some(other) if other == own_floor && !import.test => {
                    let common =
                        file.module.iter().zip(&to).take_while(|(left, right)| left == right);
                    let common = file.module[..common.count()].to_vec();
                    let folder = folders.entry(common.clone()).or_default();
                    let from = file.module.get(common.len());
                    let to = to.get(common.len()).filter(|name| {
                        modules.contains_key(
                            [common.as_slice(), &[(*name).clone()]].concat().as_slice(),
                        )
                    });
                    match (from, to) {
                        (Some(from), Some(to)) => {
                            folder
                                .siblings
                                .entry(from.clone())
                                .or_default()
                                .entry(to.clone())
                                .or_insert((file, import));
                        }
                        (Some(_), None) => folder.upwards.push((file, import)),
                        (None, Some(_)) if !import.contents => {
                            folder.downwards.push((file, import))
                        }
                        (None, _) => {}
                    }
                }
                Some(_) => {}
            }
        }
    }
    for (path, folder) in &folders {
        findings.extend(folder.circles(&path.join("::")));
    }
    findings
}

type Place<'a> = (&'a File, &'a Use);

/// The imports that stay inside one folder.
#[derive(Default)]
struct Folder<'a> {
    /// From child to child; the first import of each pair.
    siblings: BTreeMap<String, BTreeMap<String, Place<'a>>>,
    /// From a child to what `mod.rs` defines.
    upwards: Vec<Place<'a>>,
    /// From `mod.rs` to a child, other than to list it as part of the folder.
    downwards: Vec<Place<'a>>,
}

impl Folder<'_> {
    fn circles(&self, name: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (from, targets) in &self.siblings {
            for (to, (file, import)) in targets {
                if let Some(back) = self.way(to, from) {
                    let why = format!("a circle inside `{name}`: {from} → {}", back.join(" → "));
                    findings.push(file.finding(import.line, &import.written, &why));
                }
            }
        }
        if let Some((top, downward)) = self.downwards.first() {
            for (file, import) in &self.upwards {
                let why = format!(
                    "{}:{} uses its children, so what children share belongs into a child of its own",
                    top.path, downward.line
                );
                findings.push(file.finding(import.line, &import.written, &why));
            }
        }
        findings
    }

    /// Finds the shortest way from one child to another along the imports.
    fn way<'b>(&'b self, from: &'b str, to: &str) -> Option<Vec<&'b str>> {
        let mut ways = vec![vec![from]];
        let mut seen = BTreeSet::from([from]);
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                let last = *way.last()?;
                if last == to {
                    return Some(way);
                }
                for next in self.siblings.get(last).into_iter().flat_map(BTreeMap::keys) {
                    if seen.insert(next) {
                        longer.push([way.as_slice(), &[next.as_str()]].concat());
                    }
                }
            }
            ways = longer;
        }
        None
    }
}

/// Follows re-exports, and names that a folder imports; `None` leads out of the crate.
fn resolve(path: &[String], modules: &BTreeMap<&[String], &File>) -> Option<Vec<String>> {
    let mut path = path.to_vec();
    // Re-exports of re-exports are followed a few times; a circle of them would not compile.
    'again: for _ in 0..8 {
        for split in 0..path.len() {
            let (module, rest) = path.split_at(split);
            let Some(file) = modules.get(module) else { continue };
            if file.children.contains(&rest[0]) || modules.contains_key(&path[..=split]) {
                continue;
            }
            match file.names.get(&rest[0]) {
                Some(Some(to)) => {
                    path = [to, &rest[1..]].concat();
                    continue 'again;
                }
                Some(None) => return None,
                None => {}
            }
        }
        break;
    }
    Some(path)
}

/// The order of `mod` in `lib.rs`: as a request meets them, which is that of the floors.
fn order(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in read_all(sources).iter().filter(|file| file.module.is_empty()) {
        let mut above: Option<(usize, &str)> = None;
        for (name, line, test) in &file.declared {
            match floor(name) {
                _ if *test => {}
                None => findings.push(file.finding(*line, name, NOT_LISTED)),
                Some(own) => match above {
                    Some((lowest, other)) if own < lowest => {
                        let why = format!("it stands above `{other}` in the list of floors");
                        findings.push(file.finding(*line, name, &why));
                    }
                    _ => above = Some((own, name)),
                },
            }
        }
    }
    findings
}

/// A header at the top of each file, and not too much below it.
fn shape(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let first = source.text.lines().next().unwrap_or_default();
    if !first.starts_with("//!") {
        let why = "a file starts with `//!`: what it decides, what it leaves to whom";
        findings.push(source.finding(1, first, why));
    }
    if !is_tests(&source.path) {
        let lines = tests_line(&tokens(&source.text))
            .map_or_else(|| source.text.lines().count(), |line| line - 1);
        if lines > LINES_MAX {
            let why = format!("no more than {LINES_MAX} before its tests; split the file");
            findings.push(source.finding(lines, &format!("{lines} lines"), &why));
        }
    }
    findings
}

/// Returns the line on which the tests of a file begin.
fn tests_line(tokens: &[Token]) -> Option<usize> {
    (0..tokens.len()).find_map(|at| {
        let rest = &tokens[at + test_attribute(&tokens[at..])?..];
        // Other attributes may stand between, such as a `path`.
        let items = ["mod", "fn", "use", "impl", "struct", "{", ";"];
        let item = rest.iter().find(|token| items.contains(&token.text.as_str()))?;
        (item.text == "mod").then_some(tokens[at].line)
    })
}

/// Returns how many tokens an attribute has that keeps what follows for tests, if one starts here.
fn test_attribute(tokens: &[Token]) -> Option<usize> {
    let starts = |with: &[&str]| {
        let first = tokens.get(..with.len()).unwrap_or_default();
        first.iter().map(|token| token.text.as_str()).eq(with.iter().copied())
    };
    let plain = starts(&["#", "[", "cfg", "(", "test", ")"]);
    if !plain && !starts(&["#", "[", "cfg", "(", "all", "(", "test", ","]) {
        return None;
    }
    tokens.iter().position(|token| token.text == "]").map(|end| end + 1)
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source.path.ends_with(".rs") {
        let tokens = tokens(&source.text);
        for window in tokens.windows(3) {
            let [first, second, third] = window else { continue };
            if UNFINISHED.contains(&first.text.as_str()) && second.text == "!" {
                let what = format!("{}!", first.text);
                findings.push(source.finding(first.line, &what, "it is unfinished"));
            }
            if [&first.text, &second.text, &third.text] == ["#", "[", "ignore"] {
                findings.push(source.finding(first.line, "#[ignore", "a test runs or is deleted"));
            }
        }
    }
    for (number, line) in source.text.lines().enumerate() {
        if line.contains(MENDING) && !is_hidden(&source.path) {
            findings.push(source.finding(number + 1, MENDING, "mend it"));
        }
    }
    findings
}

fn private_places(source: &Source) -> Vec<Finding> {
    if is_hidden(&source.path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for place in PRIVATE_PLACES {
            // A longer word, or the middle of a path, is another place.
            let found = line.match_indices(place).any(|(at, _)| {
                let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
                !line[..at].ends_with(inside) && !line[at + place.len()..].starts_with(inside)
            });
            if found {
                let why = "it exists on one machine only";
                findings.push(source.finding(number + 1, place, why));
            }
        }
    }
    findings
}

// What is read.

struct Source {
    /// From the root of the crate, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn finding(&self, line: usize, what: &str, why: &str) -> Finding {
        Finding { file: self.path.clone(), line, what: what.into(), why: why.into() }
    }
}

/// Returns the texts under a folder, of `src/` the Rust ones: what git tracks or would track, or all
/// that is not hidden where there is no git.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let mut paths = match Command::new("git").args(list).current_dir(root).output() {
        Ok(output) if output.status.success() => {
            let list = String::from_utf8_lossy(&output.stdout);
            list.split_terminator('\0').map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    // An unpacked crate has no git, or lies ignored in the one of its parent.
    if paths.is_empty() {
        walk(root, "", &mut paths);
    }
    let wanted =
        |path: &String| path.starts_with(folder) && (folder != "src/" || path.ends_with(".rs"));
    paths.retain(wanted);
    paths.sort();
    paths.dedup();
    // What is deleted but still tracked, and what is no text, is passed over.
    let read =
        |path: String| Some(Source { text: fs::read_to_string(root.join(&path)).ok()?, path });
    paths.into_iter().filter_map(read).collect()
}

fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(folder)).expect("the crate can be read").flatten() {
        let path = format!("{folder}{}", entry.file_name().to_string_lossy());
        if is_hidden(&path) || path == "target" {
            continue;
        }
        if entry.path().is_dir() {
            walk(root, &format!("{path}/"), paths);
        } else {
            paths.push(path);
        }
    }
}

fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.'))
}

fn is_tests(path: &str) -> bool {
    path.ends_with("_tests.rs") || path.split(['/', '.']).any(|part| part == "tests")
}

/// A file of `src/` and what it imports.
struct File {
    path: String,
    /// The path of its module, empty for `lib.rs`.
    module: Vec<String>,
    uses: Vec<Use>,
    /// What `use` brings into its scope, and from where; `None` for what is not of this crate.
    names: BTreeMap<String, Option<Vec<String>>>,
    /// The modules inside it.
    children: BTreeSet<String>,
    /// The same in order, with their lines, and whether they are for tests.
    declared: Vec<(String, usize, bool)>,
}

/// An import: a leaf of a `use` tree, or a path in code.
struct Use {
    line: usize,
    written: String,
    /// From the root of the crate; a glob is left out.
    to: Vec<String>,
    test: bool,
    /// It only lists a child's item as part of the folder.
    contents: bool,
}

impl File {
    fn finding(&self, line: usize, what: &str, why: &str) -> Finding {
        Finding { file: self.path.clone(), line, what: what.into(), why: why.into() }
    }
}

fn read_all(sources: &[Source]) -> Vec<File> {
    let module = |source: &Source| {
        let path = source.path.strip_prefix("src/").unwrap_or(&source.path);
        let mut module: Vec<String> =
            path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if path == "lib.rs" || module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        // `#[path = "body_tests.rs"] mod tests;` in `body.rs` makes it a child of `body`.
        if let Some(tested) = source.path.strip_suffix("_tests.rs") {
            let name = source.path.rsplit('/').next().unwrap_or_default();
            let declares = format!("#[path = \"{name}\"]");
            let parent = format!("{tested}.rs");
            if sources.iter().any(|source| source.path == parent && source.text.contains(&declares))
            {
                let last = module.pop().unwrap_or_default();
                module.extend([last.trim_end_matches("_tests").to_owned(), "tests".to_owned()]);
            }
        }
        module
    };
    sources.iter().map(|source| Reader::new(source, module(source)).read()).collect()
}

/// Goes through the tokens of one file.
struct Reader {
    tokens: Vec<Token>,
    at: usize,
    /// The braces that are open: the name of the inner module they belong to, whether for tests.
    open: Vec<(Option<String>, bool)>,
    /// A `#[cfg(test)]` whose item goes on.
    pending_test: bool,
    all_tests: bool,
    file: File,
    /// For each use: the name it re-exports, if it does.
    re_exports: Vec<Option<String>>,
    /// Names that code outside tests mentions.
    mentioned: BTreeSet<String>,
}

impl Reader {
    fn new(source: &Source, module: Vec<String>) -> Self {
        let file = File {
            path: source.path.clone(),
            module,
            uses: Vec::new(),
            names: BTreeMap::new(),
            children: BTreeSet::new(),
            declared: Vec::new(),
        };
        let mut reader = Self {
            tokens: tokens(&source.text),
            at: 0,
            open: Vec::new(),
            pending_test: false,
            all_tests: is_tests(&source.path),
            file,
            re_exports: Vec::new(),
            mentioned: BTreeSet::new(),
        };
        // A module may be declared below the path that names it.
        reader.walk(|reader| {
            if reader.text(0) == "mod" && reader.is_word(1) && reader.open.is_empty() {
                let (name, line) = (reader.text(1).to_owned(), reader.line());
                let test = reader.in_tests();
                reader.file.children.insert(name.clone());
                reader.file.declared.push((name, line, test));
            }
            1
        });
        reader
    }

    fn read(mut self) -> File {
        self.walk(Self::step);
        for (import, name) in self.file.uses.iter_mut().zip(&self.re_exports) {
            import.contents = name.as_ref().is_some_and(|name| !self.mentioned.contains(name));
        }
        self.file
    }

    /// Calls `step` at each token that opens or closes nothing; it returns how many it took.
    fn walk(&mut self, mut step: impl FnMut(&mut Self) -> usize) {
        self.at = 0;
        self.pending_test = false;
        while self.at < self.tokens.len() {
            if let Some(length) = test_attribute(&self.tokens[self.at..]) {
                self.pending_test = true;
                self.at += length;
                continue;
            }
            match self.text(0) {
                "{" => {
                    let opens_module = self.at >= 2 && self.tokens[self.at - 2].text == "mod";
                    let name = opens_module.then(|| self.tokens[self.at - 1].text.clone());
                    self.open.push((name, std::mem::take(&mut self.pending_test)));
                    self.at += 1;
                }
                "}" => {
                    self.open.pop();
                    self.at += 1;
                }
                "pub" if self.text(1) == "(" && self.text(2) == "in" => {
                    // A visibility can only name a module around this one: it imports nothing.
                    while !matches!(self.text(0), ")" | "") {
                        self.at += 1;
                    }
                }
                _ => {
                    let taken = step(self);
                    self.at += taken;
                    if self.at > 0 && self.tokens[self.at - 1].text == ";" {
                        self.pending_test = false;
                    }
                }
            }
        }
    }

    /// Reads a `use`, or a path.
    fn step(&mut self) -> usize {
        let before = self.at.checked_sub(1).map_or("", |at| self.tokens[at].text.as_str());
        if self.text(0) == "use" && before != "::" && self.text(1) != "<" {
            let public = before == "pub" || before == ")";
            let mut at = self.at + 1;
            self.tree(&mut at, &[], public);
            return at - self.at;
        }
        if !self.is_word(0) || before == "::" || before == "." {
            return 1;
        }
        if !self.in_tests() {
            let name = self.text(0).to_owned();
            self.mentioned.insert(name);
        }
        let mut path = vec![self.text(0).to_owned()];
        let mut taken = 1;
        while self.text(taken) == "::" && self.is_word(taken + 1) {
            path.push(self.text(taken + 1).to_owned());
            taken += 2;
        }
        if path.len() > 1
            && let Some(to) = self.absolute(&path)
        {
            let line = self.line();
            self.import(line, path.join("::"), to, None);
        }
        taken
    }

    /// Reads one level of a `use` tree, up to the `,`, `}` or `;` that ends it.
    fn tree(&mut self, at: &mut usize, prefix: &[String], public: bool) {
        let mut path = prefix.to_vec();
        // `use ::http` is another crate's, whatever the modules here are called.
        let foreign = self.text_at(*at) == "::" && prefix.is_empty();
        if foreign {
            path.push(String::new());
        }
        let line = self.tokens.get(*at).map_or(0, |token| token.line);
        let mut glob = false;
        let mut name = None;
        loop {
            match self.text_at(*at) {
                "::" | "$" => {}
                "*" => glob = true,
                "{" => {
                    *at += 1;
                    while !matches!(self.text_at(*at), "}" | "") {
                        self.tree(at, &path, public);
                        if self.text_at(*at) == "," {
                            *at += 1;
                        }
                    }
                    *at += 1;
                    return;
                }
                "as" => {
                    *at += 1;
                    name = Some(self.text_at(*at).to_owned());
                }
                "," | "}" | ";" | "" => break,
                word => path.push(word.to_owned()),
            }
            *at += 1;
        }
        let written = if glob { format!("{}::*", path.join("::")) } else { path.join("::") };
        let name = name.or_else(|| {
            let parts = path.iter().rev().filter(|part| *part != "self");
            (!glob).then(|| parts.map(String::clone).next()).flatten()
        });
        let to = self.absolute(&path);
        if self.open.is_empty()
            && !self.in_tests()
            && let Some(name) = &name
        {
            self.file.names.insert(name.clone(), to.clone());
        }
        if let Some(to) = to {
            self.import(line, written, to, name.filter(|_| public));
        }
    }

    fn import(&mut self, line: usize, written: String, to: Vec<String>, re_export: Option<String>) {
        let test = self.in_tests();
        self.file.uses.push(Use { line, written, to, test, contents: false });
        self.re_exports.push(re_export);
    }

    /// Returns a path from the root of the crate, or `None` if it is none of its modules'.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let inner = self.open.iter().filter_map(|(name, _)| name.clone());
        let mut module: Vec<String> = self.file.module.iter().cloned().chain(inner).collect();
        let rest = match path.first()?.as_str() {
            "crate" => {
                module.clear();
                &path[1..]
            }
            "self" | "super" => path,
            first if module == self.file.module && self.file.children.contains(first) => path,
            _ => return None,
        };
        for part in rest {
            match part.as_str() {
                "self" => {}
                "super" => {
                    module.pop();
                }
                _ => module.push(part.clone()),
            }
        }
        Some(module)
    }

    fn in_tests(&self) -> bool {
        self.all_tests || self.pending_test || self.open.iter().any(|(_, test)| *test)
    }

    fn text(&self, ahead: usize) -> &str {
        self.text_at(self.at + ahead)
    }

    fn text_at(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    fn is_word(&self, ahead: usize) -> bool {
        self.text(ahead).starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |token| token.line)
    }
}

/// A word, a number, `::` or one sign. Comments are none; of texts and characters only a `"` is left.
struct Token {
    line: usize,
    text: String,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut rest = text;
    let mut line = 1;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (length, token) = if first.is_whitespace() {
            (first.len_utf8(), None)
        } else if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), None)
        } else if rest.starts_with("/*") {
            (comment(rest), None)
        } else if let Some(length) = string(rest).or_else(|| character(rest)) {
            (length, Some("\""))
        } else if let Some(raw) = rest.strip_prefix("r#").filter(|raw| raw.starts_with(is_word)) {
            let length = raw.find(|c| !is_word(c)).unwrap_or(raw.len());
            (length + 2, Some(&raw[..length]))
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (length, Some(&rest[..length]))
        } else if rest.starts_with("::") {
            (2, Some("::"))
        } else {
            (first.len_utf8(), Some(&rest[..first.len_utf8()]))
        };
        tokens.extend(token.map(|text| Token { line, text: text.to_owned() }));
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// Returns the length of a block comment, which may hold others.
fn comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let step = if text[at..].starts_with("/*") {
            depth += 1;
            2
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            text[at..].chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Returns the length of a string, plain or raw, if one starts here.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            let marks = if prefix.ends_with('r') { rest.trim_start_matches('#') } else { rest };
            marks.starts_with('"')
        })
    })?;
    let rest = &text[prefix.len()..];
    let marks = rest.len() - rest.trim_start_matches('#').len();
    let start = prefix.len() + marks + 1;
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(marks));
        return Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()));
    }
    Some(start + quoted(&text[start..], '"'))
}

/// Returns the length of a character in quotes, if one starts here; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let prefix = usize::from(text.starts_with("b'"));
    let rest = text[prefix..].strip_prefix('\'')?;
    let mut chars = rest.chars();
    let first = chars.next()?;
    (first == '\\' || chars.next() == Some('\'')).then(|| prefix + 1 + quoted(rest, '\''))
}

/// Returns how far it is behind the closing quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        if char == '\\' {
            chars.next();
        } else if char == quote {
            return at + char.len_utf8();
        }
    }
    text.len()
}
