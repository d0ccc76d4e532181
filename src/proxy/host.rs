//! Which Host the target gets: the one the client asked for, or ALB's form of it.

use http::{HeaderValue, Request, header};

use crate::head::Peer;

/// Makes the authority of the request target, if there is one, the Host (RFC 9112 §3.2.2).
pub(super) fn of_authority<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority() else { return };
    let host = authority.as_str();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Rewrites the Host as ALB does: in lower case, without a port if the client connected to 80 or 443,
/// and with that port otherwise, unless it names one. Of several the first remains.
pub(super) fn rewrite<B>(request: &mut Request<B>, peer: Option<&Peer>) {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return };
    let several = hosts.next().is_some();
    let rewritten = host.to_str().ok().and_then(|host| as_alb(host, peer.and_then(Peer::port)));
    let rewritten = rewritten.and_then(|host| HeaderValue::try_from(host).ok());
    if let Some(host) = rewritten.or_else(|| several.then(|| host.clone())) {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Returns what becomes of a host, if it does not stay as it is.
fn as_alb(host: &str, connected_to: Option<u16>) -> Option<String> {
    // A colon within brackets belongs to an IPv6 address.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    if name.is_empty() || (name.contains(':') && !name.ends_with(']')) {
        return None;
    }
    let mut rewritten = match (connected_to, port) {
        (Some(80 | 443), _) => name.to_owned(),
        (Some(connected_to), "") => format!("{name}:{connected_to}"),
        _ => host.to_owned(),
    };
    rewritten.make_ascii_lowercase();
    (rewritten != host).then_some(rewritten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_of_the_target_is_the_host() {
        let mut request = Request::get("http://user@a.com:81/x").body(()).unwrap();
        request.headers_mut().insert("host", HeaderValue::from_static("b.com"));
        of_authority(&mut request);
        assert_eq!(request.headers()["host"], "a.com:81");
    }

    fn check(port: u16, hosts: &[&str], expected: &[&str]) {
        check_request(Request::new(()), port, hosts, expected);
    }

    fn check_request(mut request: Request<()>, port: u16, hosts: &[&str], expected: &[&str]) {
        for host in hosts {
            request.headers_mut().append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        let peer = (port != 0)
            .then(|| Peer::new(([192, 0, 2, 1], 5000).into()).local(([10, 0, 0, 1], port).into()));
        of_authority(&mut request);
        rewrite(&mut request, peer.as_ref());
        let found = request.headers().get_all(header::HOST).iter().collect::<Vec<_>>();
        assert_eq!(found, expected, "{hosts:?} at port {port}");
    }

    #[test]
    fn vector_30_a_port_is_taken_from_the_host_on_80_and_443() {
        check(443, &["a.com:8080"], &["a.com"]);
        check(443, &["a.com:443"], &["a.com"]);
        check(80, &["a.com:80"], &["a.com"]);
        check(80, &["a.com:"], &["a.com"]);
        check(80, &["a.com"], &["a.com"]);
        check(80, &["[2001:DB8::1]:80"], &["[2001:db8::1]"]);
        check(80, &["[2001:db8::1]"], &["[2001:db8::1]"]);
    }

    #[test]
    fn vector_31_the_port_is_appended_to_the_host_elsewhere() {
        check(8080, &["a.com"], &["a.com:8080"]);
        check(8080, &["a.com:"], &["a.com:8080"]);
        check(8080, &["a.com:8080"], &["a.com:8080"]);
        check(8080, &["a.com:80"], &["a.com:80"]);
        check(8080, &["[2001:db8::1]"], &["[2001:db8::1]:8080"]);
        check(8080, &["[2001:db8::1]:1"], &["[2001:db8::1]:1"]);
        check(8080, &["A.com"], &["a.com:8080"]);
        check(8080, &["A.com:1"], &["a.com:1"]);
    }

    #[test]
    fn of_several_hosts_the_first_remains() {
        check(80, &["a.com", "b.com"], &["a.com"]);
        check(80, &["A.com", "b.com"], &["a.com"]);
        check(80, &[], &[]);
    }

    #[test]
    fn an_authority_is_rewritten_like_a_host() {
        let request = || Request::get("https://DNS.name/x").body(()).unwrap();
        check_request(request(), 443, &["a.com"], &["dns.name"]);
        check_request(request(), 8443, &["a.com"], &["dns.name:8443"]);
    }

    #[test]
    fn without_a_port_to_compare_with_only_the_case_changes() {
        check(0, &["A.com:81"], &["a.com:81"]);
        check(0, &["A.com"], &["a.com"]);
    }

    #[test]
    fn what_is_no_host_stays_as_it_is() {
        check(8080, &[""], &[""]);
        check(80, &[":80"], &[":80"]);
        check(80, &["2001:db8::1"], &["2001:db8::1"]);
        check(80, &["caf\u{e9}:80"], &["caf\u{e9}:80"]);
    }
}
