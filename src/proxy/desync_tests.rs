//! Requests, their classes and reasons; what a form is called is the desync guardian's word for it.

use proptest::prelude::*;

use super::{super::noted::Noted, *};

const GET: &str = "GET";
const POST: &str = "POST";

type Fields<'a> = &'a [(&'a str, &'a str)];

fn judge(method: &str, version: Version, fields: Fields<'_>) -> Option<Reason> {
    let mut framing = Framing::default();
    for (name, value) in fields {
        framing.note(name, value.as_bytes());
    }
    framing.judge(&Method::from_bytes(method.as_bytes()).unwrap(), version)
}

fn check(method: &str, fields: Fields<'_>, expected: &str) {
    let found = judge(method, Version::HTTP_11, fields);
    let text = found.map_or("Compliant".to_owned(), |reason| {
        format!("{} {}", reason.class().as_str(), reason.as_str())
    });
    assert_eq!(text, expected, "{method} {fields:?}");
}

#[test]
fn what_says_once_where_a_body_ends_is_compliant() {
    let check = |method: &str, fields: Fields<'_>| check(method, fields, "Compliant");
    check(GET, &[]);
    check(GET, &[("content-type", "a"), ("te", "trailers"), ("x_a", "b"), ("cookie", "c")]);
    check(POST, &[("content-length", "0")]);
    check(POST, &[("content-length", "18446744073709551615")]);
    check(POST, &[("transfer-encoding", "chunked")]);
    check(POST, &[("transfer-encoding", "Chunked ; a=b")]);
    check(POST, &[("transfer-encoding", "gzip, chunked")]);
    check(POST, &[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")]);
    check(POST, &[("transfer-encoding", "chunked, gzip, chunked")]);
    check(POST, &[("transfer-encoding", "identity, chunked")]);
    check("DELETE", &[("content-length", "3")]);
    check("get", &[("content-length", "3")]);
    // Letters that only begin or end the same.
    check(POST, &[("content-lengths", "a"), ("x-content-length", "b"), ("content", "c")]);
}

#[test]
fn an_acceptable_request_is_odd() {
    check(GET, &[("content-length", "0")], "Acceptable GetHeadZeroContentLength");
    check("HEAD", &[("content-length", "00")], "Acceptable GetHeadZeroContentLength");
    check(GET, &[("content-length", "")], "Acceptable GetHeadZeroContentLength");
}

#[test]
fn an_ambiguous_request_may_be_read_in_two_ways() {
    let check = |method: &str, fields: Fields<'_>, reason: &str| {
        check(method, fields, &format!("Ambiguous {reason}"));
    };
    check(GET, &[("content-length", "1")], "UndefinedContentLengthSemantics");
    check("HEAD", &[("content-length", "1")], "UndefinedContentLengthSemantics");
    check(GET, &[("transfer-encoding", "chunked")], "UndefinedTransferEncodingSemantics");
    let two = [("content-length", "5"), ("content-length", "5")];
    check(POST, &two, "DuplicateContentLength");
    let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
    check(POST, &both, "BothTeClPresent");
    for name in [
        "content_length",
        "content.length",
        "contentlength",
        "content-length~",
        "-content-length",
        "content--length",
        "c_o_n_t_e_n_t_length",
        "content-length!",
    ] {
        check(POST, &[(name, "5")], "SuspiciousHeader");
    }
    for name in ["transfer_encoding", "transferencoding", "transfer-encoding'", "transfer.encoding"]
    {
        check(POST, &[(name, "chunked")], "SuspiciousHeader");
    }
    // The first of those that are equally bad.
    check(GET, &[("content_length", "5")], "SuspiciousHeader");
    check(POST, &[("content-length", "5"), ("content_length", "5")], "SuspiciousHeader");
}

#[test]
fn a_severe_request_is_an_attack() {
    let check = |fields: Fields<'_>, reason: &str| {
        check(POST, fields, &format!("Severe {reason}"));
    };
    for value in ["-1", "+1", "1,1", "1 1", "1.0", "0x1", "a", "18446744073709551616", "\u{661}"] {
        check(&[("content-length", value)], "BadContentLength");
        check(&[("content_length", value)], "BadContentLength");
    }
    check(&[("content-length", "1"), ("content-length", "2")], "MultipleContentLength");
    check(&[("content-length", "1"), ("content_length", "2")], "MultipleContentLength");
    let three = [("content-length", "1"), ("content-length", "1"), ("content-length", "2")];
    check(&three, "MultipleContentLength");
    for value in ["", "xchunked", "chunked, x", "x, chunked", "\"chunked\"", "chunked,", "c hunked"]
    {
        check(&[("transfer-encoding", value)], "BadTransferEncoding");
    }
    let twice = "MultipleTransferEncodingChunked";
    check(&[("transfer-encoding", "chunked, chunked")], twice);
    check(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], twice);
    check(&[("transfer-encoding", "chunked"), ("transfer_encoding", "chunked")], twice);
    let disguised = "SuspiciousTeClPresent";
    check(&[("content-length", "5"), ("transfer_encoding", "chunked")], disguised);
    check(&[("content_length", "5"), ("transfer-encoding", "chunked")], disguised);
    check(&[("content_length", "5"), ("transfer_encoding", "chunked")], disguised);
    // The first of the worst, codings before lengths.
    check(&[("content-length", "a"), ("transfer-encoding", "b")], "BadTransferEncoding");
}

#[test]
fn older_versions_have_no_chunks_and_newer_ones_frames() {
    let check = |version, fields, expected: Option<&str>| {
        let found = judge(POST, version, fields).map(Reason::as_str);
        assert_eq!(found, expected, "{version:?} {fields:?}");
    };
    let chunked = &[("transfer-encoding", "chunked")];
    let bad = &[("transfer-encoding", "x"), ("content-length", "y")];
    let length = &[("content-length", "5")];
    let undefined = Some("UndefinedTransferEncodingSemantics");
    check(Version::HTTP_10, chunked, undefined);
    check(Version::HTTP_10, bad, undefined);
    check(Version::HTTP_10, length, None);
    check(Version::HTTP_09, chunked, undefined);
    check(Version::HTTP_09, length, Some("UndefinedContentLengthSemantics"));
    check(Version::HTTP_09, &[], Some("NonCompliantVersion"));
    check(Version::HTTP_2, bad, None);
    check(Version::HTTP_3, chunked, None);
}

#[test]
fn a_mode_decides_what_becomes_of_a_class() {
    let check = |class, monitor, defensive, strictest| {
        assert_eq!(DesyncMode::Monitor.fate(class), monitor);
        assert_eq!(DesyncMode::default().fate(class), defensive);
        assert_eq!(DesyncMode::Strictest.fate(class), strictest);
    };
    check(Class::Acceptable, Fate::Pass, Fate::Pass, Fate::Refuse);
    check(Class::Ambiguous, Fate::Pass, Fate::PassAlone, Fate::Refuse);
    check(Class::Severe, Fate::Pass, Fate::Refuse, Fate::Refuse);
}

#[test]
fn an_alias_of_a_framing_field_is_known() {
    let check = |name, alias| assert_eq!(Framing::default().note(name, b"5"), alias, "{name}");
    check("content_length", true);
    check("content.length", true);
    check("transfer_encoding", true);
    check("transfer.encoding", true);
    check("content-length", false);
    check("transfer-encoding", false);
    check("contentlength", false);
    check("content-length_", false);
    check("content_type", false);
}

#[test]
fn a_coding_that_cannot_be_passed_on_is_known() {
    let check = |value: &str, foreign| {
        let mut framing = Framing::default();
        framing.note("transfer-encoding", value.as_bytes());
        assert_eq!(framing.has_foreign_coding(), foreign, "{value}");
    };
    check("chunked", false);
    check("identity, Chunked", false);
    check("gzip, chunked", true);
    check("x, chunked", true);
}

proptest! {
    /// Whatever the order of the fields, the class is the same.
    #[test]
    fn the_class_does_not_depend_on_the_order_of_different_fields(
        length in proptest::option::of("[0-9a,]{0,3}"),
        coding in proptest::option::of("(chunked|gzip|x)(, ?(chunked|gzip|x)){0,2}"),
        disguised in proptest::option::of("[0-9]{1,2}"),
        get in any::<bool>(),
    ) {
        let mut fields = Vec::new();
        fields.extend(length.as_deref().map(|value| ("content-length", value)));
        fields.extend(coding.as_deref().map(|value| ("transfer-encoding", value)));
        fields.extend(disguised.as_deref().map(|value| ("content_length", value)));
        let method = if get { GET } else { POST };
        let class = |fields: Fields<'_>| judge(method, Version::HTTP_11, fields).map(Reason::class);
        let forwards = class(&fields);
        fields.reverse();
        prop_assert_eq!(forwards, class(&fields));
    }
}

proptest::proptest! {
    /// What the first look at a name sorts out says nothing about framing.
    #[test]
    fn a_name_that_cannot_frame_is_not_looked_at(
        name in "([-_.~]?[ct][-_.~]?[or][-_.~]?[na][-_.~]?[tn][-_.~a-z0-9]{0,14})|[a-z0-9~._-]{1,8}",
    ) {
        let mut framing = Framing::default();
        if !Framing::may_frame(&name) || !Noted::may_count(&name) {
            assert!(!framing.note(&name, b"5"), "{name}");
            assert!(!framing.suspicious && !framing.length.seen.any() && !framing.coding.seen.any());
        }
    }
}

#[test]
fn names_that_frame_are_looked_at() {
    for name in [
        "content-length",
        "content_length",
        "c-o-n-tent-length",
        "transfer-encoding",
        "-transferencoding",
    ] {
        assert!(Framing::may_frame(name) && Noted::may_count(name), "{name}");
    }
}
