//! Names of fields that others may take for names that count: those that say where a body ends, and
//! those under which a balancer tells what it knows of a client.
//!
//! Many programs make variables of names, as CGI does, and see no difference between `-`, `_` and `.`
//! then. Who drops what is decided above: of heads in `proxy/`, of trailers in `body/`.

/// Tells whether a name is ours to programs that see no difference; both are in lower case.
pub(crate) fn reads_as(name: &str, ours: &str) -> bool {
    name.len() == ours.len() && begins_as(name, ours)
}

fn begins_as(name: &str, ours: &str) -> bool {
    let same = |(byte, our): (u8, u8)| byte == our || our == b'-' && is_hyphen(byte);
    name.len() >= ours.len() && name.bytes().zip(ours.bytes()).all(same)
}

fn is_hyphen(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

/// Tells whether a name is, or reads as, one by which a body is framed.
pub(crate) fn frames(name: &str) -> bool {
    reads_as(name, "content-length") || reads_as(name, "transfer-encoding")
}

/// Tells whether a name is, or reads as, one under which a balancer tells what it knows of a client.
pub(crate) fn tells_of_client(name: &str) -> bool {
    let begins = |ours| begins_as(name, ours);
    begins("x-forwarded-") || begins("x-amzn-") || reads_as(name, "x-real-ip")
}

/// Tells whether a name has something in it that reads as a hyphen.
pub(crate) fn is_disguised(name: &str) -> bool {
    name.bytes().any(|byte| byte != b'-' && is_hyphen(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_reads_as_another_whatever_stands_for_its_hyphens() {
        let check = |name, ours, same| assert_eq!(reads_as(name, ours), same, "{name} {ours}");
        check("content-length", "content-length", true);
        check("content_length", "content-length", true);
        check("content.length", "content-length", true);
        check("content~length", "content-length", false);
        check("contentlength", "content-length", false);
        check("content_length_", "content-length", false);
        check("content_lengt", "content-length", false);
        check("_roxy", "proxy", false);
    }

    proptest! {
        /// Against all of it in plain words, over names that are nearly ours.
        #[test]
        fn what_a_name_means_is_what_its_plain_form_means(
            name in "(x|content|transfer)[-_.~](forwarded|amzn|real|length|encoding)[-_.]?\
                     (for|proto|trace|ip|tls|mtls)?[-_.]?[a-z]{0,3}",
        ) {
            let plain = name.replace(['_', '.'], "-");
            let framing = ["content-length", "transfer-encoding"].contains(&&*plain);
            prop_assert_eq!(frames(&name), framing);
            let of_client = plain.starts_with("x-forwarded-")
                || plain.starts_with("x-amzn-")
                || plain == "x-real-ip";
            prop_assert_eq!(tells_of_client(&name), of_client);
            prop_assert_eq!(is_disguised(&name), plain != name);
        }
    }
}
