//! Fields whose value is a list that each proxy appends to (RFC 9110 §5.6.1).

use http::{HeaderMap, HeaderName, HeaderValue};

/// Appends a member; several lines become one, in their order.
pub(super) fn append(headers: &mut HeaderMap, name: HeaderName, member: &HeaderValue) {
    let mut before = headers.get_all(&name).iter().filter(|line| !line.is_empty()).peekable();
    let value = if before.peek().is_none() {
        member.clone()
    } else {
        let mut all = before.map(HeaderValue::as_bytes).collect::<Vec<_>>();
        all.push(member.as_bytes());
        HeaderValue::from_bytes(&all.join(&b", "[..])).unwrap_or_else(|_| member.clone())
    };
    headers.insert(name, value);
}

/// Returns the members from the last to the first, without those that are empty.
pub(super) fn from_the_last<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().rev();
    let members = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    let members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    // What is no text is no member that anybody here could read; the others are still what they are.
    members.map(|member| str::from_utf8(member).unwrap_or("?"))
}
