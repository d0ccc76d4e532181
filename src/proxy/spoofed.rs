//! Fields by which a client could pass for somebody else: a proxy, or us.
//!
//! X-Forwarded-For, -Proto and -Port themselves are `introduction.rs`'s.

use http::{HeaderMap, HeaderName};

use crate::field;

/// Removes them: always what a program behind CGI's names of fields would take for one of ours
/// (`X_Forwarded_For`) or for its own proxy's address (`Proxy`); what only proxies write, unless the
/// sender is one that is `trusted`; and ALB's own X-Amzn-* likewise, if they are to be stripped.
pub(super) fn remove(headers: &mut HeaderMap, trusted: bool, strip_amzn: bool) {
    let is_spoofed = |name: &&HeaderName| is_spoofed(name.as_str(), trusted, strip_amzn);
    let spoofed = headers.keys().filter(is_spoofed).cloned().collect::<Vec<_>>();
    for name in spoofed {
        headers.remove(name);
    }
}

/// Tells whether a field may be to go, by whomever it was sent.
pub(super) fn may_be(name: &str) -> bool {
    is_spoofed(name, false, true)
}

/// Tells whether a field is to go, by its name in lower case; most are told by their first letter.
fn is_spoofed(name: &str, trusted: bool, strip_amzn: bool) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            let by_proxies = !trusted && name == "x-real-ip";
            let by_alb = !trusted && strip_amzn && is_amzn(name);
            by_proxies || by_alb || is_alias(name)
        }
        Some(b'c' | b't') => is_alias(name),
        Some(b'p') => name == "proxy",
        Some(b'f') => !trusted && name == "forwarded",
        _ => false,
    }
}

/// Tells whether only a balancer writes a field: what it knows of a certificate, of TLS, of a user.
fn is_amzn(name: &str) -> bool {
    let Some(of) = name.strip_prefix("x-amzn-") else { return false };
    ["mtls-", "tls-", "oidc-"].iter().any(|prefix| of.starts_with(prefix))
}

/// Tells whether a name is another than that of a framing field or of one that balancers write, which
/// many programs take for it.
fn is_alias(name: &str) -> bool {
    (field::tells_of_client(name) || field::frames(name)) && field::is_disguised(name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Asserts when a field of this name passes: from anybody, from trusted proxies, from nobody; with
    /// ALB's own fields stripped or not.
    fn check(names: &[&str], passes: impl Fn(bool, bool) -> bool) {
        for name in names {
            for (trusted, strip) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut headers = HeaderMap::new();
                let other = HeaderName::from_static("x-other");
                let key = HeaderName::from_bytes(name.as_bytes()).unwrap();
                for (name, value) in [(&other, "1"), (&key, "1"), (&key, "2")] {
                    headers.append(name, HeaderValue::from_static(value));
                }
                remove(&mut headers, trusted, strip);
                let passed = headers.get_all(&key).iter().count() == 2;
                assert_eq!(passed, passes(trusted, strip), "{name} {trusted} {strip}");
                assert_eq!(headers.len(), if passed { 3 } else { 1 }, "{name} {trusted} {strip}");
            }
        }
    }

    #[test]
    fn aliases_of_our_names_never_pass() {
        let aliases = [
            "X_Forwarded_For",
            "X.Forwarded.For",
            "X-Forwarded_For",
            "X_Forwarded-For",
            "x_forwarded_proto",
            "X-Forwarded.Port",
            "X_FORWARDED_HOST",
            "X_Amzn_Trace_Id",
            "X-Amzn-Trace_Id",
            "X.Amzn-Mtls-Clientcert",
            "X_Amzn_Tls_Version",
            "X_Amzn_Oidc_Identity",
            "X_Real_IP",
            "X-Real.IP",
            "Content_Length",
            "Transfer.Encoding",
        ];
        check(&aliases, |_, _| false);
    }

    #[test]
    fn a_proxy_of_its_own_is_told_to_no_program() {
        check(&["Proxy", "PROXY"], |_, _| false);
    }

    #[test]
    fn what_proxies_write_passes_from_trusted_ones() {
        check(&["Forwarded", "X-Real-IP"], |trusted, _| trusted);
    }

    #[test]
    fn what_alb_knows_of_its_clients_passes_unless_stripped() {
        let names = [
            "X-Amzn-Mtls-Clientcert",
            "X-Amzn-Mtls-Clientcert-Subject",
            "X-Amzn-Tls-Version",
            "X-Amzn-Tls-Cipher-Suite",
            "X-Amzn-Oidc-Identity",
            "X-Amzn-Oidc-Data",
        ];
        check(&names, |trusted, strip| trusted || !strip);
    }

    #[test]
    fn other_fields_pass() {
        let names = [
            "x",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "X-Amzn-Trace-Id",
            "X-Amzn-Mtls",
            "X-Amzn-RequestId",
            "x_foo",
            "X.Forwarded",
            "x_forwardedfor",
            "X_Real_IP_2",
            "Content_Length2",
            "Content_Type",
            "Proxy-Thing",
            "Proxy_",
            "Forwarded_",
            "traceparent",
            "tracestate",
            "_",
            "a.b",
        ];
        check(&names, |_, _| true);
    }
}
