//! What the load-balancer cookie promises, over the headers that clients send and get.

use std::{
    cell::Cell,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderValue, Request,
    header::{COOKIE, SET_COOKIE},
};
use proptest::prelude::*;

use super::{
    seal::{Seal, TARGET_ID_MAX},
    set_cookie::Form,
    *,
};
use crate::head::Peer;

/// A moment at which a tick of a minute begins.
static NOW: LazyLock<SystemTime> = LazyLock::new(|| UNIX_EPOCH + 30_000_000 * seconds(60));

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

thread_local! {
    static OPENINGS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the openings of this thread, which is to say, of one test.
pub(super) fn count_opening() {
    OPENINGS.set(OPENINGS.get() + 1);
}

fn key(byte: u8) -> CookieKey {
    CookieKey::from_bytes([byte; 32])
}

fn builder() -> CookieBuilder {
    LoadBalancerCookie::builder(key(1))
}

fn cookie() -> LoadBalancerCookie {
    builder().build().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn recall_bytes(
    cookie: &LoadBalancerCookie,
    group: &str,
    fields: &[&[u8]],
    now: SystemTime,
) -> Session {
    let mut request = Request::new(());
    for field in fields {
        request.headers_mut().append(COOKIE, HeaderValue::from_bytes(field).unwrap());
    }
    cookie.recall(&group.into(), &Head::of(&request, None), now)
}

fn recall(cookie: &LoadBalancerCookie, group: &str, fields: &[&str]) -> Session {
    let fields: Vec<_> = fields.iter().map(|field| field.as_bytes()).collect();
    recall_bytes(cookie, group, &fields, *NOW)
}

/// Checks which target is recalled of a request with these Cookie fields.
#[track_caller]
fn check(cookie: &LoadBalancerCookie, fields: &[&str], expected: Option<&str>) {
    let session = recall(cookie, "web", fields);
    assert_eq!(session.target().map(TargetId::as_str), expected, "{fields:?}");
}

fn remember(
    cookie: &LoadBalancerCookie,
    group: &str,
    session: &Session,
    target: &str,
    now: SystemTime,
) -> Option<String> {
    let mut headers = HeaderMap::new();
    cookie.remember(&group.into(), session, &target.into(), &mut headers, now);
    assert!(headers.len() <= 1);
    headers.get(SET_COOKIE).map(|header| header.to_str().unwrap().to_owned())
}

/// Returns the `name=value` of a response that names this target.
fn pair(cookie: &LoadBalancerCookie, group: &str, target: &str) -> String {
    let header = remember(cookie, group, &Session::default(), target, *NOW).unwrap();
    header.split(';').next().unwrap().to_owned()
}

fn entry(cookie: &LoadBalancerCookie, group: &str, target: &str) -> String {
    pair(cookie, group, target).strip_prefix("POINTSMAN=").unwrap().to_owned()
}

/// A client that keeps one cookie.
#[derive(Default)]
struct Client {
    pair: String,
}

impl Client {
    /// Makes a request that is answered by its session's target, else by `otherwise`. Returns by whom,
    /// and whether the cookie was written.
    fn visit(
        &mut self,
        cookie: &LoadBalancerCookie,
        group: &str,
        otherwise: &str,
        now: SystemTime,
    ) -> (String, bool) {
        let session = recall_bytes(cookie, group, &[self.pair.as_bytes()], now);
        let target = session.target().map_or(otherwise, TargetId::as_str).to_owned();
        let written = remember(cookie, group, &session, &target, now);
        if let Some(header) = &written {
            self.pair = header.split(';').next().unwrap().to_owned();
        }
        (target, written.is_some())
    }
}

#[test]
fn a_client_comes_back_to_its_target() {
    let cookie = cookie();
    for target in ["127.0.0.1:3001", "a", "", "ä target, with = and ;", &"x".repeat(TARGET_ID_MAX)]
    {
        check(&cookie, &[&pair(&cookie, "web", target)], Some(target));
    }
    check(&cookie, &[], None);
}

#[test]
fn the_form_of_an_entry_stays_as_it_is() {
    // Balancers of different versions share sessions. Computed by another implementation.
    let seal = Seal::new("POINTSMAN", &key(1), None).with_entropy(|nonce| {
        nonce.fill(2);
        Ok(())
    });
    let text = seal.seal(&"web".into(), &"10.0.0.1:80".into(), seconds(1_800_000_000)).unwrap();
    assert_eq!(text, "FtL_6AICAgICAgICAgICAgfWyOpSC5H94vyS-HKX7IOYjeFfZUk1UFmnPZ9iq3GSRzOI");
}

#[test]
fn a_session_lasts_its_duration_and_little_longer() {
    for duration in [seconds(1), Duration::from_millis(1999), seconds(600), DAY, 7 * DAY] {
        let cookie = builder().duration(duration).build().unwrap();
        for later in [0, 1, 19, 20, 11_999, 59_999, 60_000, 86_399_999].map(Duration::from_millis) {
            let now = *NOW + later;
            let header = remember(&cookie, "web", &Session::default(), "a", now).unwrap();
            let (pair, attributes) = header.split_once("; Max-Age=").unwrap();
            let target_at = |now| {
                let session = recall_bytes(&cookie, "web", &[pair.as_bytes()], now);
                session.target().is_some()
            };
            let until = recall_bytes(&cookie, "web", &[pair.as_bytes()], now).until().unwrap();
            assert!(until > now + duration, "{duration:?} {later:?}");
            assert!(until <= now + duration + (duration / 50).min(seconds(60)));
            assert!(target_at(until - Duration::from_millis(1)));
            assert!(!target_at(until));
            // The client keeps the cookie as long as it is any good.
            let max_age = attributes.split(';').next().unwrap().parse().unwrap();
            assert!(now + seconds(max_age) >= until);
        }
    }
}

#[test]
fn an_entry_with_anything_changed_is_ignored() {
    let cookie = cookie();
    let text = entry(&cookie, "web", "10.0.0.1:80");
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    let ignored = |text: String| check(&cookie, &[&format!("POINTSMAN={text}")], None);
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[i] ^= 1 << bit;
            ignored(URL_SAFE_NO_PAD.encode(bytes));
        }
        ignored(URL_SAFE_NO_PAD.encode(&bytes[..i]));
        ignored(URL_SAFE_NO_PAD.encode([&bytes[..i], &bytes[i + 1..]].concat()));
        ignored(URL_SAFE_NO_PAD.encode([&bytes[..i], &[0], &bytes[i..]].concat()));
    }
    // In the text too no two spellings are the same entry.
    for i in 0..text.len() {
        for other in *b"ABZaz09-_=+/%\"" {
            let mut changed = text.clone().into_bytes();
            if std::mem::replace(&mut changed[i], other) != other {
                ignored(String::from_utf8(changed).unwrap());
            }
        }
    }
    ignored(format!("{text}="));
    ignored(format!("\"{text}\""));
    ignored(text.bytes().map(|byte| format!("%{byte:02X}")).collect());
    check(&cookie, &[&format!("POINTSMAN={text}")], Some("10.0.0.1:80"));
}

#[test]
fn an_entry_is_good_for_its_group_its_cookie_and_its_keys_only() {
    let cookie = cookie();
    let text = entry(&cookie, "web", "a");
    assert_eq!(recall(&cookie, "api", &[&format!("POINTSMAN={text}")]).target(), None);
    assert_eq!(recall(&cookie, "Web", &[&format!("POINTSMAN={text}")]).target(), None);

    let renamed = builder().name("OTHER").build().unwrap();
    check(&renamed, &[&format!("OTHER={text}")], None);
    check(&renamed, &[&format!("POINTSMAN={text}")], None);

    let rekeyed = LoadBalancerCookie::builder(key(2)).build().unwrap();
    check(&rekeyed, &[&format!("POINTSMAN={text}")], None);
}

#[test]
fn an_entry_of_another_group_under_our_groups_mark_does_not_open() {
    let cookie = cookie();
    let mut forged = URL_SAFE_NO_PAD.decode(entry(&cookie, "api", "a")).unwrap();
    let ours = URL_SAFE_NO_PAD.decode(entry(&cookie, "web", "a")).unwrap();
    forged[..4].copy_from_slice(&ours[..4]);
    check(&cookie, &[&format!("POINTSMAN={}", URL_SAFE_NO_PAD.encode(forged))], None);
    assert_eq!(OPENINGS.get(), 1);
}

#[test]
fn names_longer_than_the_stack_has_room_for_are_told_apart_too() {
    let cookie = cookie();
    let [one, two] = ["1", "2"].map(|end| "g".repeat(1000) + end);
    let [ours, theirs] =
        [&one, &two].map(|group| URL_SAFE_NO_PAD.decode(entry(&cookie, group, "a")).unwrap());
    let forged = [&ours[..4], &theirs[4..]].concat();
    let recalled = |entry| {
        let pair = format!("POINTSMAN={}", URL_SAFE_NO_PAD.encode(entry));
        recall(&cookie, &one, &[&pair]).target().is_some()
    };
    assert!(recalled(ours));
    assert!(!recalled(forged));
}

#[test]
fn the_previous_key_opens_and_the_new_one_seals() {
    let old = LoadBalancerCookie::builder(key(1)).build().unwrap();
    let both = LoadBalancerCookie::builder(key(2)).previous_key(key(1)).build().unwrap();
    let new = LoadBalancerCookie::builder(key(2)).build().unwrap();
    check(&both, &[&pair(&old, "web", "a")], Some("a"));
    OPENINGS.set(0);
    check(&both, &[&pair(&both, "web", "a")], Some("a"));
    assert_eq!(OPENINGS.get(), 1, "the new key should be tried first");
    check(&new, &[&pair(&both, "web", "a")], Some("a"));
    check(&old, &[&pair(&both, "web", "a")], None);
}

#[test]
fn the_cookie_is_found_among_others() {
    let cookie = cookie();
    let ours = pair(&cookie, "web", "a");
    let check = |fields: &[&str], expected| check(&cookie, fields, expected);
    check(&[&format!("x=1; {ours}; y=2")], Some("a"));
    check(&[&format!("x=1;{ours};y=2")], Some("a"));
    check(&[&format!(" \t {ours} \t ")], Some("a"));
    check(&[&format!("=;;x; {ours};")], Some("a"));
    check(&["x=1", &ours, "y=2"], Some("a"));
    check(&[&format!("POINTSMAN_={ours}; XPOINTSMAN=; {ours}")], Some("a"));
    check(&[&format!("x={ours}")], None);
    check(&[&format!("x={ours}; pointsman=1")], None);
    check(&[&ours.replace("POINTSMAN", "pointsman")], None);
    check(&[&ours.replace('=', " =")], None);
    check(&["POINTSMAN"], None);
    check(&["POINTSMAN="], None);
}

#[test]
fn a_cookie_that_comes_twice_is_ignored() {
    let cookie = cookie();
    let (a, b) = (pair(&cookie, "web", "a"), pair(&cookie, "web", "b"));
    check(&cookie, &[&format!("{a}; {b}")], None);
    check(&cookie, &[&format!("{a}; {a}")], None);
    check(&cookie, &[&a, "x=1", &b], None);
    check(&cookie, &[&a, "POINTSMAN="], None);
    assert_eq!(OPENINGS.get(), 0);
}

#[test]
fn a_value_over_4_kib_is_not_opened() {
    let cookie = cookie();
    let ours = pair(&cookie, "web", "a");
    let padded = |length: usize| {
        let padding = "x".repeat(length + "POINTSMAN=".len() - ours.len() - 1);
        format!("{ours}.{padding}")
    };
    check(&cookie, &[&padded(4097)], None);
    assert_eq!(OPENINGS.get(), 0);
    check(&cookie, &[&padded(4096)], Some("a"));
}

#[test]
fn what_comes_after_8_kib_of_cookies_is_not_seen() {
    let cookie = cookie();
    let ours = pair(&cookie, "web", "a");
    let other = |length: usize| format!("x={}", "1".repeat(length - 2));
    let room = 8192 - ours.len();
    check(&cookie, &[&other(room), &ours], Some("a"));
    check(&cookie, &[&other(room + 1), &ours], None);
    check(&cookie, &[&other(9000), &ours], None);
    check(&cookie, &[&other(4000), &other(4000), &other(4000), &ours], None);
    check(&cookie, &[&format!("{ours}; {}", other(9000))], Some("a"));
    check(&cookie, &[&ours, &other(60_000)], Some("a"));
}

#[test]
fn whatever_a_client_sends_costs_eight_openings_a_key_at_most() {
    let both = LoadBalancerCookie::builder(key(2)).previous_key(key(3)).build().unwrap();
    // Entries of our group that neither key opens, of the shortest length there is.
    let sealed = URL_SAFE_NO_PAD.decode(entry(&cookie(), "web", "")).unwrap();
    let forged: Vec<_> = (0..300u16)
        .map(|i| {
            let mut bytes = sealed.clone();
            bytes[4..6].copy_from_slice(&i.to_be_bytes());
            URL_SAFE_NO_PAD.encode(bytes)
        })
        .collect();
    let check = |fields: &[String], openings| {
        OPENINGS.set(0);
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        check(&both, &fields, None);
        assert_eq!(OPENINGS.get(), openings);
    };
    check(&[format!("POINTSMAN={}", forged.join("."))], 0);
    check(&[format!("POINTSMAN={}", forged[..70].join("."))], 16);
    check(&[format!("POINTSMAN={}", forged[..3].join("."))], 6);
    let crumbs: Vec<_> = forged.iter().map(|text| format!("POINTSMAN={text}")).collect();
    check(&crumbs, 0);
    check(&[crumbs.join("; ")], 0);
    let others: Vec<_> = (0..300).map(|i| format!("POINTSMAN{i}={}", forged[0])).collect();
    check(&others, 0);
}

#[test]
fn a_forged_entry_does_not_hide_a_genuine_one() {
    let cookie = cookie();
    let forger = LoadBalancerCookie::builder(key(2)).build().unwrap();
    let (forged, genuine) = (entry(&forger, "web", "b"), entry(&cookie, "web", "a"));
    check(&cookie, &[&format!("POINTSMAN={forged}.{genuine}")], Some("a"));
    // Neither stays in the cookie beside what is written next.
    let session = recall(&cookie, "web", &[&format!("POINTSMAN={genuine}.{forged}.{genuine}")]);
    assert_eq!(session.memo(), "");
}

#[test]
fn two_groups_in_turn_keep_both_their_targets() {
    let cookie = cookie();
    let mut client = Client::default();
    for minute in 0..10 {
        let now = *NOW + seconds(60 * minute);
        let fresh = format!("fresh in minute {minute}");
        for (group, target) in [("web", "a"), ("api", "b")] {
            let otherwise = if minute == 0 { target } else { &fresh };
            assert_eq!(client.visit(&cookie, group, otherwise, now), (target.to_owned(), true));
        }
    }
}

#[test]
fn a_cookie_with_another_groups_entry_is_kept_as_long_as_any_session_may_last() {
    let short = builder().duration(seconds(60)).build().unwrap();
    let session = recall(&short, "api", &[&pair(&cookie(), "web", "a")]);
    let header = remember(&short, "api", &session, "b", *NOW).unwrap();
    assert!(header.contains("; Max-Age=604860; "), "{header}");
    let (pair, _) = header.split_once(';').unwrap();
    check(&cookie(), &[pair], Some("a"));
}

#[test]
fn the_ninth_group_drops_the_oldest() {
    let cookie = cookie();
    let mut client = Client::default();
    let mut visit = |group: usize, otherwise: &str, minute: u32| {
        let now = *NOW + minute * seconds(60);
        client.visit(&cookie, &format!("group {group}"), otherwise, now).0
    };
    for group in 0..8 {
        visit(group, "first", 0);
    }
    // The first becomes the newest, so the second is now the oldest.
    assert_eq!(visit(0, "second", 1), "first");
    visit(8, "first", 1);
    for group in [0, 2, 3, 4, 5, 6, 7, 8] {
        assert_eq!(visit(group, "second", 1), "first", "group {group}");
    }
    assert_eq!(visit(1, "second", 1), "second");
}

#[test]
fn eight_of_the_longest_entries_fit_into_what_clients_keep() {
    let name = "n".repeat(128);
    let cookie = builder().name(&name).build().unwrap();
    let mut client = Client::default();
    let target = "t".repeat(TARGET_ID_MAX);
    for group in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        client.visit(&cookie, group, &target, *NOW);
    }
    assert!(client.pair.len() < 4096, "{}", client.pair.len());
    for group in ["2", "3", "4", "5", "6", "7", "8", "9"] {
        assert_eq!(client.visit(&cookie, group, "other", *NOW).0, target);
    }
}

#[test]
fn only_what_can_be_an_entry_is_written_back() {
    let cookie = cookie();
    let other = entry(&cookie, "api", "b");
    let memo = |value: &str| recall(&cookie, "web", &[&format!("POINTSMAN={value}")]);
    assert_eq!(memo(&other).memo(), other);
    assert_eq!(memo(&format!("..x.{other}.<script>.{}.", "A".repeat(500))).memo(), other);
    let long = "A".repeat(395);
    assert_eq!(memo(&long).memo(), long);
    assert_eq!(memo(&"A".repeat(396)).memo(), "");
    assert_eq!(memo(&"A".repeat(53)).memo(), "");
    assert_eq!(memo(&[other.as_str(); 20].join(".")).memo().split('.').count(), 8);
}

#[test]
fn a_session_goes_on_with_each_response_and_is_written_once_a_tick() {
    let cookie = cookie();
    let mut client = Client::default();
    let mut visit = |later: Duration| client.visit(&cookie, "web", "a", *NOW + later);
    assert!(visit(seconds(0)).1);
    assert!(!visit(seconds(0)).1);
    assert!(!visit(Duration::from_millis(59_999)).1);
    assert!(visit(seconds(60)).1);
    assert!(!visit(seconds(61)).1);
    // Every twelve hours for a month, though a session lasts a day.
    for half_day in 1..60 {
        assert_eq!(visit(half_day * DAY / 2), ("a".to_owned(), true));
    }
}

#[test]
fn a_session_that_nobody_continues_ends() {
    let cookie = cookie();
    let mut client = Client::default();
    client.visit(&cookie, "web", "a", *NOW);
    assert_eq!(client.visit(&cookie, "web", "b", *NOW + DAY + seconds(60)).0, "b");
}

#[test]
fn another_target_is_written_at_once() {
    let cookie = cookie();
    let session = recall(&cookie, "web", &[&pair(&cookie, "web", "a")]);
    assert_eq!(remember(&cookie, "web", &session, "a", *NOW), None);
    assert!(remember(&cookie, "web", &session, "b", *NOW).is_some());
}

#[test]
fn an_entry_is_sealed_once_a_tick() {
    let cookie = cookie();
    let first = |now| remember(&cookie, "web", &Session::default(), "a", now).unwrap();
    let one = first(*NOW);
    assert_eq!(one, first(*NOW + seconds(59)));
    // Also beside the entries of others, and in a clone.
    let memo = entry(&cookie, "api", "b");
    let session = Session::default().with_memo(memo.clone());
    let both = remember(&cookie.clone(), "web", &session, "a", *NOW).unwrap();
    let (value, _) = one.split_once(';').unwrap();
    assert_eq!(both.split_once(';').unwrap().0, format!("{value}.{memo}"));
    // But not for longer, and not for another group or target.
    assert_ne!(one, first(*NOW + seconds(60)));
    assert_ne!(value, pair(&cookie, "api", "a"));
    assert_ne!(value, pair(&cookie, "web", "b"));
}

#[test]
fn what_was_sealed_for_others_is_not_confused() {
    let cookie = cookie();
    let check = |group: &str, target: &str| {
        let pair = pair(&cookie, group, target);
        assert_eq!(recall(&cookie, group, &[&pair]).target().unwrap(), target, "{group}");
    };
    for i in 0..5000 {
        check("web", &format!("target {i}"));
        check(&format!("group {i}"), "a");
    }
}

#[test]
fn an_entry_is_opened_once_a_tick_and_what_differs_from_it_is_not_taken_for_it() {
    let cookie = cookie();
    let ours = pair(&cookie, "web", "a");
    let recalled = |group: &str, pair: &str, later| {
        let session = recall_bytes(&cookie, group, &[pair.as_bytes()], *NOW + later);
        session.target().map(ToString::to_string)
    };
    for _ in 0..3 {
        assert_eq!(recalled("web", &ours, seconds(59)).as_deref(), Some("a"));
    }
    assert_eq!(OPENINGS.replace(0), 1);
    assert_eq!(recalled("api", &ours, seconds(0)), None);
    assert_eq!(recalled("web", &ours, 2 * DAY), None);
    for place in "POINTSMAN=".len()..ours.len() {
        let mut changed = ours.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        assert_eq!(recalled("web", str::from_utf8(&changed).unwrap(), seconds(0)), None);
    }
    // One that is about to be written anew is not kept.
    let theirs = pair(&cookie, "web", "b");
    OPENINGS.set(0);
    for _ in 0..3 {
        assert_eq!(recalled("web", &theirs, seconds(60)).as_deref(), Some("b"));
    }
    assert_eq!(OPENINGS.get(), 3);
}

#[test]
fn the_entries_of_a_few_hundred_targets_are_all_found_again_in_each_tick() {
    let cookie = cookie();
    for minute in 0..5 {
        let header = |i: usize| {
            let target = format!("10.0.{}.{}:80", i / 250, i % 250);
            let now = *NOW + minute * seconds(60);
            remember(&cookie, "web", &Session::default(), &target, now).unwrap()
        };
        let sealed: Vec<_> = (0..300).map(header).collect();
        let again = (0..300).filter(|&i| header(i) != sealed[i]).count();
        assert!(again < 10, "{again} of 300 were sealed again in minute {minute}");
    }
}

#[test]
fn the_attributes_are_on_the_wire() {
    let check = |builder: CookieBuilder, expected: &str| {
        let cookie = builder.build().unwrap();
        let header = remember(&cookie, "web", &Session::default(), "a", *NOW).unwrap();
        let (pair, attributes) = header.split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{value}");
        assert_eq!(format!("{name}; {attributes}"), expected);
    };
    check(builder(), "POINTSMAN; Max-Age=86460; Path=/; HttpOnly");
    check(builder().http_only(false), "POINTSMAN; Max-Age=86460; Path=/");
    check(builder().duration(seconds(1)), "POINTSMAN; Max-Age=2; Path=/; HttpOnly");
    check(
        builder()
            .name("__Secure-lb")
            .duration(seconds(100))
            .path("/shop, here")
            .domain("example.com")
            .secure(true)
            .same_site(SameSite::None),
        "__Secure-lb; Max-Age=102; Path=/shop, here; Domain=example.com; Secure; HttpOnly; SameSite=None",
    );
    check(
        builder().same_site(SameSite::Lax),
        "POINTSMAN; Max-Age=86460; Path=/; HttpOnly; SameSite=Lax",
    );
    check(
        builder().same_site(SameSite::Strict),
        "POINTSMAN; Max-Age=86460; Path=/; HttpOnly; SameSite=Strict",
    );
}

/// Returns all that is written for a client with or without TLS.
fn all_fields(
    cookie: &LoadBalancerCookie,
    memo: &str,
    https: bool,
    now: SystemTime,
) -> Vec<String> {
    let mut request = Request::new(());
    if !memo.is_empty() {
        let pair = HeaderValue::try_from(format!("POINTSMANCORS={memo}")).unwrap();
        request.headers_mut().insert(COOKIE, pair);
    }
    let peer = Peer::new("192.0.2.1:1".parse().unwrap()).https(https);
    let session = cookie.recall(&"web".into(), &Head::of(&request, Some(&peer)), now);
    let mut headers = HeaderMap::new();
    cookie.remember(&"web".into(), &session, &"a".into(), &mut headers, now);
    headers.get_all(SET_COOKIE).iter().map(|field| field.to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_twin_has_the_same_value_and_is_for_other_sites() {
    let check = |builder: CookieBuilder, memo: &str, https, expected: [&str; 2]| {
        let fields = all_fields(&builder.cors(true).build().unwrap(), memo, https, *NOW);
        let [own, twin] = &*fields else { panic!("{fields:?}") };
        let (own_pair, own) = own.split_once("; ").unwrap();
        let (twin_pair, twin) = twin.split_once("; ").unwrap();
        assert_eq!(
            own_pair.strip_prefix("POINTSMAN=").unwrap(),
            twin_pair.strip_prefix("POINTSMANCORS=").unwrap()
        );
        assert_eq!([own, twin], expected);
        assert_eq!(own_pair.contains('.'), !memo.is_empty());
    };
    let ends = "Max-Age=86460; Path=/; HttpOnly; SameSite=None";
    let own = "Max-Age=86460; Path=/; HttpOnly";
    check(builder(), "", false, [own, ends]);
    check(builder(), "", true, [own, &format!("{ends}; Secure")]);
    let secured = "Max-Age=86460; Path=/; Secure; HttpOnly";
    check(builder().secure(true), "", false, [secured, &format!("{ends}; Secure")]);
    let other = entry(&cookie(), "api", "b");
    let plain = builder().http_only(false).same_site(SameSite::Lax).domain("a.example");
    let long = "Max-Age=604860; Path=/; Domain=a.example";
    let [own, twin] = ["; SameSite=Lax", "; SameSite=None; Secure"].map(|s| format!("{long}{s}"));
    check(plain, &other, true, [&own, &twin]);
}

#[test]
fn of_a_cookie_and_its_twin_the_twin_counts() {
    let cookie = builder().cors(true).build().unwrap();
    let [a, b] = ["a", "b"].map(|target| entry(&self::cookie(), "web", target));
    let (own, twin) = (format!("POINTSMAN={a}"), format!("POINTSMANCORS={b}"));
    check(&cookie, &[&own], Some("a"));
    check(&cookie, &[&twin], Some("b"));
    check(&cookie, &[&format!("{own}; {twin}")], Some("b"));
    check(&cookie, &[&twin, &own], Some("b"));
    // What comes twice is nobody's; the other may still be.
    check(&cookie, &[&twin, &twin, &own], Some("a"));
    check(&cookie, &[&own, &twin, &own], Some("b"));
    check(&cookie, &[&own, &format!("POINTSMANCORS={}", "x".repeat(4097))], Some("a"));
    // A twin that says nothing ends the session all the same.
    check(&cookie, &[&own, "POINTSMANCORS=x"], None);
    // Without a twin its name means nothing.
    check(&builder().build().unwrap(), &[&own, &twin], Some("a"));
}

#[test]
fn an_end_by_expires_is_seven_days_away_whatever_the_duration() {
    for duration in [seconds(1), seconds(600), DAY, 7 * DAY] {
        let cookie = builder().duration(duration).expires(true).cors(true).build().unwrap();
        for (now, memo) in [0, 1, 30, 59].into_iter().zip(["", "", "x", "x"]) {
            let now = *NOW + seconds(now);
            let memo = if memo.is_empty() { memo } else { &entry(&self::cookie(), "api", "b") };
            let fields = all_fields(&cookie, memo, false, now);
            assert_eq!(fields.len(), 2);
            for field in fields {
                assert!(!field.contains("Max-Age"), "{field}");
                let (_, end) = field.split_once("; Expires=").unwrap();
                let (end, attributes) = end.split_once("; ").unwrap();
                assert!(attributes.starts_with("Path=/"), "{attributes}");
                let end = httpdate::parse_http_date(end).unwrap();
                assert!(end >= now + 7 * DAY, "{duration:?}");
                assert!(end <= now + 7 * DAY + seconds(60), "{duration:?}");
            }
        }
    }
}

#[test]
fn a_date_beyond_those_that_http_knows_does_no_harm() {
    let cookie = builder().expires(true).build().unwrap();
    let far = UNIX_EPOCH + Duration::from_secs(1 << 50);
    let field = remember(&cookie, "web", &Session::default(), "a", far).unwrap();
    assert!(field.contains("; Expires=Fri, 31 Dec 9999 23:59:59 GMT;"), "{field}");
}

#[test]
fn the_cookies_of_targets_stay() {
    let mut headers = HeaderMap::new();
    headers.append(SET_COOKIE, HeaderValue::from_static("id=1"));
    headers.append(SET_COOKIE, HeaderValue::from_static("POINTSMAN=theirs"));
    cookie().remember(&"web".into(), &Session::default(), &"a".into(), &mut headers, *NOW);
    let all: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
    assert_eq!(all.len(), 3);
    assert_eq!(all[..2], ["id=1", "POINTSMAN=theirs"]);
}

#[test]
fn a_target_with_too_long_an_id_is_not_remembered() {
    let long = "x".repeat(TARGET_ID_MAX + 1);
    assert_eq!(remember(&cookie(), "web", &Session::default(), &long, *NOW), None);
}

#[test]
fn without_entropy_there_is_no_cookie() {
    let seal =
        Seal::new("POINTSMAN", &key(1), None).with_entropy(|_| Err(getrandom::Error::UNSUPPORTED));
    let form = Form {
        name: "POINTSMAN".to_owned(),
        attributes: String::new(),
        twin: None,
        expires: false,
    };
    let starved = LoadBalancerCookie::new(form, seal, DAY);
    assert_eq!(remember(&starved, "web", &Session::default(), "a", *NOW), None);
    // What was sealed before is still opened.
    check(&starved, &[&pair(&cookie(), "web", "a")], Some("a"));
}

#[test]
fn a_clock_before_1970_or_far_after_it_does_no_harm() {
    let far = UNIX_EPOCH + Duration::from_secs(1 << 50);
    for now in [UNIX_EPOCH - DAY, UNIX_EPOCH, far] {
        let mut client = Client::default();
        assert_eq!(client.visit(&cookie(), "web", "a", now), ("a".to_owned(), true));
        assert_eq!(client.visit(&cookie(), "web", "b", now), ("a".to_owned(), false));
    }
}

#[test]
fn what_cannot_be_a_cookie_is_refused() {
    let check = |builder: CookieBuilder, expected: &[&str]| {
        let errors = builder.build().map_or_else(
            |invalid| invalid.iter().map(str::to_owned).collect::<Vec<_>>(),
            |_| Vec::new(),
        );
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, start) in errors.iter().zip(expected) {
            assert!(error.starts_with(start), "{error}");
        }
    };
    check(builder().duration(seconds(1)).name("a".repeat(128)).path("/a b"), &[]);
    check(builder().duration(7 * DAY).domain(".a-b.example"), &[]);
    check(builder().duration(Duration::from_millis(999)), &["duration 999ms: "]);
    check(builder().duration(7 * DAY + Duration::from_nanos(1)), &["duration "]);
    check(builder().duration(Duration::MAX), &["duration "]);
    for name in ["", "a b", "a=b", "a;b", "a\r\n", "ä", "a,b", "a\0", &"a".repeat(129)] {
        check(builder().name(name), &[&format!("name {name:?}: ")]);
    }
    for path in ["", "a", "/;Secure", "/\r\nX: y", "/ä", "/\x7f", &"/".repeat(1025)] {
        check(builder().path(path), &[&format!("path {path:?}: ")]);
    }
    for domain in ["", "a b", "a;b", "a:80", "ä.example", "a\n"] {
        check(builder().domain(domain), &[&format!("domain {domain:?}: ")]);
    }
    check(builder().same_site(SameSite::None), &["SameSite=None: "]);
    check(builder().same_site(SameSite::None).secure(true), &[]);
    check(builder().name("__Secure-a"), &["name \"__Secure-a\": "]);
    check(builder().name("__secure-a").secure(true), &[]);
    check(builder().name("__host-a").secure(true), &[]);
    check(builder().name("__Host-a"), &["name \"__Host-a\": "]);
    check(builder().name("__Host-a").secure(true).path("/a"), &["name "]);
    check(builder().name("__Host-a").secure(true).domain("a.example"), &["name "]);
    check(
        builder().name("").path("").domain("").duration(seconds(0)).same_site(SameSite::None),
        &["duration ", "name ", "path ", "domain ", "SameSite=None: "],
    );
}

#[test]
fn keys_are_not_shown() {
    let builder = LoadBalancerCookie::builder(key(99)).previous_key(key(98));
    let shown = format!("{:?} {builder:?} {:?}", key(99), cookie());
    assert!(!shown.contains("99") && !shown.contains("98"), "{shown}");
    assert!(CookieKey::generate().unwrap().as_bytes() != CookieKey::generate().unwrap().as_bytes());
}

proptest! {
    #[test]
    fn nothing_a_client_makes_up_is_remembered(
        fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
        values in prop::collection::vec("[A-Za-z0-9_=.;, -]{0,200}", 0..3),
    ) {
        let cookie = cookie();
        let mut request = Request::new(());
        let bytes = fields.into_iter().map(|bytes| HeaderValue::from_bytes(&bytes));
        let texts = values.iter().map(|value| HeaderValue::try_from(format!("POINTSMAN={value}")));
        for value in bytes.flatten().chain(texts.flatten()) {
            request.headers_mut().append(COOKIE, value);
        }
        let session = cookie.recall(&"web".into(), &Head::of(&request, None), *NOW);
        prop_assert_eq!(session.target(), None);
        // Whatever is kept of it can be written into a header.
        prop_assert!(remember(&cookie, "web", &session, "a", *NOW).is_some());
    }

    #[test]
    fn entries_moved_about_and_cut_name_no_target_but_their_own(
        parts in prop::collection::vec((0usize..6, 0usize..100, 0usize..100), 1..12),
    ) {
        let cookie = cookie();
        let stranger = LoadBalancerCookie::builder(key(2)).build().unwrap();
        let entries = [
            entry(&cookie, "web", "ours"),
            entry(&cookie, "api", "api's"),
            entry(&cookie, "WEB", "WEB's"),
            entry(&stranger, "web", "stranger's"),
            entry(&stranger, "api", "stranger's"),
            ".".to_owned(),
        ];
        let cut = |&(entry, from, to): &(usize, usize, usize)| {
            let entry: &str = &entries[entry];
            let (from, to) = (from.saturating_sub(50), to.saturating_sub(30));
            entry.get(from..entry.len().saturating_sub(to)).unwrap_or_default().to_owned() + "."
        };
        let value: String = parts.iter().map(cut).collect();
        let session = recall(&cookie, "web", &[&format!("POINTSMAN={value}")]);
        let whole = value.split('.').take(8).any(|text| *text == entries[0]);
        let expected = whole.then_some("ours");
        prop_assert_eq!(session.target().map(TargetId::as_str), expected);
        prop_assert!(OPENINGS.replace(0) <= 8);
    }
}
