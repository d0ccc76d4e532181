//! Security groups: who may connect to which port.
//!
//! They only decide; whoever accepts connections asks, and drops before a byte is read. A group only
//! ever admits, so that together they admit what one of them does.

use std::{fmt, net::IpAddr, ops::RangeInclusive};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    fields,
    reader::{Node, Object},
    report::Report,
};
use crate::grammar;

/// The security groups of a load balancer.
///
/// `Display` names them, as a log line does that tells of a dropped connection.
///
/// # Examples
///
/// ```
/// use pointsman::gateway::{Admission, Document};
///
/// let document = Document::parse(r#"{
///     "SecurityGroups": [{
///         "GroupId": "sg-web",
///         "IpPermissions": [{
///             "IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8090,
///             "IpRanges": [{"CidrIp": "10.0.0.0/8"}]
///         }]
///     }],
///     "Listeners": [{
///         "Protocol": "HTTP", "Port": 8080,
///         "DefaultActions": [{
///             "Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}
///         }]
///     }]
/// }"#)?;
/// let groups = document.security_groups();
/// assert_eq!(groups.admits(8080, [10, 1, 2, 3].into()), Admission::By("sg-web"));
/// assert_eq!(groups.admits(8080, [192, 0, 2, 1].into()), Admission::None);
/// assert_eq!(groups.admits(80, [10, 1, 2, 3].into()), Admission::None);
/// # Ok::<_, pointsman::gateway::InvalidDocument>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityGroups {
    /// None at all admit everybody.
    groups: Vec<SecurityGroup>,
}

/// Who admits a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission<'g> {
    /// There are no security groups: everybody may connect.
    Open,
    /// The security group of this name does.
    By(&'g str),
    /// None does.
    None,
}

impl Admission<'_> {
    /// Tells whether the connection may go on.
    pub fn is_admitted(&self) -> bool {
        *self != Self::None
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SecurityGroup {
    name: String,
    permissions: Vec<Permission>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Permission {
    ports: RangeInclusive<u16>,
    from: Vec<IpNet>,
}

impl SecurityGroups {
    /// Decides on a connection from an address to a listener's port.
    pub fn admits(&self, port: u16, from: IpAddr) -> Admission<'_> {
        if self.groups.is_empty() {
            return Admission::Open;
        }
        // One address, whether it is told as IPv4 or as IPv4 mapped into IPv6.
        let from = from.to_canonical();
        let admits = |permission: &Permission| {
            permission.ports.contains(&port)
                && permission.from.iter().any(|net| net.contains(&from))
        };
        let by = self.groups.iter().find(|group| group.permissions.iter().any(admits));
        by.map_or(Admission::None, |group| Admission::By(&group.name))
    }

    /// Tells whether anybody may connect to a port.
    pub fn opens(&self, port: u16) -> bool {
        let mut permissions = self.groups.iter().flat_map(|group| &group.permissions);
        self.groups.is_empty()
            || permissions.any(|open| open.ports.contains(&port) && !open.from.is_empty())
    }

    /// Tells whether there are none, so that everybody may connect.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn read(list: &Node<'_>, report: &mut Report) -> Self {
        let mut groups: Vec<SecurityGroup> = Vec::new();
        for item in list.list(report) {
            let Some(object) = item.object(fields::SECURITY_GROUP, report) else { continue };
            let Some(name) = name(&object, report) else { continue };
            if groups.iter().any(|group| group.name == name) {
                let text = format!("given twice, expected no two security groups {name:?}");
                object.refuse(text, report);
            }
            let permissions = object.get("IpPermissions").map(|list| list.list(report));
            let permissions = permissions.unwrap_or_default();
            let permissions =
                permissions.iter().filter_map(|item| Permission::read(item, report)).collect();
            groups.push(SecurityGroup { name, permissions });
        }
        Self { groups }
    }
}

/// Reads what a group is called; by its id if it has both.
fn name(object: &Object<'_>, report: &mut Report) -> Option<String> {
    let fits = |c: char| !c.is_control();
    let [id, name] = ["GroupId", "GroupName"].map(|field| {
        let node = object.get(field)?;
        node.text_of(1..=255, fits, "characters", report).map(str::to_owned)
    });
    if let Some(description) = object.get("Description") {
        description.text(report);
    }
    if id.is_none() && object.get("GroupId").is_none() && object.get("GroupName").is_none() {
        object.refuse_at("GroupId", "missing, expected a name for the security group", report);
    }
    id.or(name)
}

impl Permission {
    /// Reads who may connect where; `None` if it is about something else than TCP.
    fn read(item: &Node<'_>, report: &mut Report) -> Option<Self> {
        let object = item.object(fields::IP_PERMISSION, report)?;
        let protocol = object.need("IpProtocol", "tcp or -1", report)?.clone();
        let name = protocol.text(report)?;
        let is_number = grammar::number::<u8>(name).is_some();
        let ports = match name {
            "-1" => Some(0..=u16::MAX),
            "tcp" | "6" => ports(&object, report),
            "udp" | "icmp" | "icmpv6" => None,
            _ if is_number => None,
            _ => {
                protocol.expected("tcp, udp, icmp, icmpv6, a number of 0 to 255 or -1", report);
                None
            }
        };
        let mut from = Vec::new();
        for range in object.get("IpRanges").map(|list| list.list(report)).unwrap_or_default() {
            let Some(range) = range.object(fields::IP_RANGE, report) else { continue };
            let expected = "an address and the length of its prefix, as in 10.0.0.0/8";
            from.extend(range.need("CidrIp", expected, report).and_then(|cidr| {
                let net = cidr.raw_text().and_then(|text| text.parse::<Ipv4Net>().ok());
                if net.is_none() {
                    cidr.expected(expected, report);
                }
                net.map(IpNet::V4)
            }));
        }
        for range in object.get("Ipv6Ranges").map(|list| list.list(report)).unwrap_or_default() {
            let Some(range) = range.object(fields::IPV6_RANGE, report) else { continue };
            let expected = "an address and the length of its prefix, as in 2001:db8::/32";
            from.extend(range.need("CidrIpv6", expected, report).and_then(|cidr| {
                let net = cidr.raw_text().and_then(|text| text.parse::<Ipv6Net>().ok());
                if net.is_none() {
                    cidr.expected(expected, report);
                }
                net.map(IpNet::V6)
            }));
        }
        Some(Self { ports: ports?, from })
    }
}

fn ports(object: &Object<'_>, report: &mut Report) -> Option<RangeInclusive<u16>> {
    let [first, last] = ["FromPort", "ToPort"]
        .map(|field| object.need(field, "0 to 65535", report)?.number(0..=u16::MAX, report));
    let (first, last) = (first?, last?);
    if first > last {
        let text = format!("{last}: expected {first} to 65535, not below FromPort");
        object.refuse_at("ToPort", text, report);
    }
    Some(first..=last)
}

impl fmt::Display for SecurityGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.groups.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, group.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::json::Json;

    fn read(text: &str) -> Result<SecurityGroups, String> {
        let json = Json::parse(text).unwrap();
        let mut report = Report::default();
        let groups = SecurityGroups::read(&Node::root(&json), &mut report);
        report.into_result().map(|_| groups).map_err(|invalid| invalid.to_string())
    }

    const TWO: &str = r#"[
        {"GroupId": "sg-1", "GroupName": "web", "IpPermissions": [
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81,
             "IpRanges": [{"CidrIp": "10.1.2.3/8", "Description": "us"}],
             "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}], "UserIdGroupPairs": []},
            {"IpProtocol": "udp", "FromPort": 443, "ToPort": 443,
             "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
            {"IpProtocol": "6", "FromPort": "0", "ToPort": "65535", "IpRanges": []}
        ]},
        {"GroupName": "ops", "IpPermissions": [
            {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "192.0.2.7/32"}]}
        ]}
    ]"#;

    #[test]
    fn a_group_admits_whom_it_names_to_the_ports_it_names() {
        let groups = read(TWO).unwrap();
        let check = |port, from: &str, expected| {
            assert_eq!(groups.admits(port, from.parse().unwrap()), expected, "{port} {from}");
        };
        check(80, "10.255.0.1", Admission::By("sg-1"));
        check(81, "::ffff:10.0.0.1", Admission::By("sg-1"));
        check(80, "2001:db8::1", Admission::By("sg-1"));
        check(79, "10.0.0.1", Admission::None);
        check(82, "10.0.0.1", Admission::None);
        check(80, "11.0.0.1", Admission::None);
        check(80, "2001:db9::1", Admission::None);
        check(443, "11.0.0.1", Admission::None);
        check(1, "192.0.2.7", Admission::By("ops"));
        check(80, "192.0.2.7", Admission::By("ops"));
        check(80, "192.0.2.8", Admission::None);
        assert_eq!(groups.to_string(), "sg-1, ops");
    }

    #[test]
    fn a_port_is_open_if_anybody_may_connect_to_it() {
        let check = |text: &str, port, expected| {
            assert_eq!(read(text).unwrap().opens(port), expected, "{text} {port}");
        };
        check("[]", 80, true);
        check(r#"[{"GroupId": "a"}]"#, 80, false);
        check(TWO, 5000, true);
        let empty = r#"[{"GroupId": "a", "IpPermissions":
            [{"IpProtocol": "-1"}, {"IpProtocol": "icmp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}]"#;
        check(empty, 80, false);
    }

    #[test]
    fn no_groups_admit_everybody_and_one_without_permissions_nobody() {
        let anybody = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(SecurityGroups::default().admits(80, anybody), Admission::Open);
        assert!(Admission::Open.is_admitted() && !Admission::None.is_admitted());
        let closed = read(r#"[{"GroupId": "a"}]"#).unwrap();
        assert_eq!(closed.admits(80, anybody), Admission::None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, expected: &str| {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        };
        check(
            r#"["sg-1"]"#,
            "[0]: \"sg-1\": expected an object of GroupId, GroupName, Description or IpPermissions",
        );
        check("[{}]", "[0].GroupId: missing, expected a name for the security group");
        check(
            r#"[{"GroupId": "a"}, {"GroupId": "a"}]"#,
            "[1]: given twice, expected no two security groups \"a\"",
        );
        let one =
            |permission: &str| format!(r#"[{{"GroupId": "a", "IpPermissions": [{permission}]}}]"#);
        check(&one("{}"), "[0].IpPermissions[0].IpProtocol: missing, expected tcp or -1");
        check(
            &one(r#"{"IpProtocol": "http"}"#),
            "[0].IpPermissions[0].IpProtocol: \"http\": expected tcp, udp, icmp, icmpv6, a number of 0 to 255 or -1",
        );
        check(
            &one(r#"{"IpProtocol": "tcp"}"#),
            "[0].IpPermissions[0].FromPort: missing, expected 0 to 65535\n\
             [0].IpPermissions[0].ToPort: missing, expected 0 to 65535",
        );
        check(
            &one(r#"{"IpProtocol": "tcp", "FromPort": 81, "ToPort": 80}"#),
            "[0].IpPermissions[0].ToPort: 80: expected 81 to 65535, not below FromPort",
        );
        check(
            &one(r#"{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "::/0"}, {"Cidr": "1.2.3.4"}],
                     "Ipv6Ranges": [{"CidrIpv6": "0.0.0.0/0"}],
                     "PrefixListIds": [{"PrefixListId": "pl-1"}],
                     "UserIdGroupPairs": [{"GroupId": "sg-2"}]}"#),
            "[0].IpPermissions[0].PrefixListIds: cannot be had here, what addresses these are is not known; write them out\n\
             [0].IpPermissions[0].UserIdGroupPairs: cannot be had here, what addresses these have is not known; write them out\n\
             [0].IpPermissions[0].IpRanges[0].CidrIp: \"::/0\": expected an address and the length of its prefix, as in 10.0.0.0/8\n\
             [0].IpPermissions[0].IpRanges[1].Cidr: unknown field, did you mean CidrIp?\n\
             [0].IpPermissions[0].IpRanges[1].CidrIp: missing, expected an address and the length of its prefix, as in 10.0.0.0/8\n\
             [0].IpPermissions[0].Ipv6Ranges[0].CidrIpv6: \"0.0.0.0/0\": expected an address and the length of its prefix, as in 2001:db8::/32",
        );
    }
}
