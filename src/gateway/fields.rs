//! Every field that a document may have, and what becomes of it.
//!
//! The keys of attributes are in `attributes.rs`; what may stand in a field is decided where it is
//! read.

use super::reader::Known;

const fn honoured(name: &'static str) -> Known {
    Known::honoured(name)
}

const TAGS: Known = Known::ignored("Tags", "nothing here looks at tags");
const VPC: Known = Known::ignored("VpcId", "there are no networks of a cloud here");
const ARN_OF_NOTHING: &str = "nothing refers to it";
const NO_TLS: &str = "there is no TLS yet";
const NO_REGEX: &str = "there are no regular expressions yet";
const NO_AUTHENTICATION: &str = "clients are not authenticated here yet";

pub(super) const DOCUMENT: &[Known] = &[
    honoured("LoadBalancerAttributes"),
    honoured("SecurityGroups"),
    honoured("TargetGroups"),
    honoured("Listeners"),
    honoured("Type"),
    Known::ignored("Name", ARN_OF_NOTHING),
    Known::ignored("LoadBalancerName", ARN_OF_NOTHING),
    Known::ignored("LoadBalancerArn", ARN_OF_NOTHING),
    Known::ignored("Scheme", "where it listens is said when it is started"),
    Known::ignored("IpAddressType", "where it listens is said when it is started"),
    Known::ignored("Subnets", "there are no networks of a cloud here"),
    Known::ignored("SubnetMappings", "there are no networks of a cloud here"),
    VPC,
    TAGS,
];

pub(super) const ATTRIBUTE: &[Known] = &[honoured("Key"), honoured("Value")];

pub(super) const SECURITY_GROUP: &[Known] = &[
    honoured("GroupId"),
    honoured("GroupName"),
    honoured("Description"),
    honoured("IpPermissions"),
    Known::ignored("IpPermissionsEgress", "what goes out is not restricted"),
    Known::ignored("SecurityGroupArn", ARN_OF_NOTHING),
    Known::ignored("OwnerId", ARN_OF_NOTHING),
    VPC,
    TAGS,
];

pub(super) const IP_PERMISSION: &[Known] = &[
    honoured("IpProtocol"),
    honoured("FromPort"),
    honoured("ToPort"),
    honoured("IpRanges"),
    honoured("Ipv6Ranges"),
    Known::refused("PrefixListIds", "what addresses these are is not known; write them out"),
    Known::refused("UserIdGroupPairs", "what addresses these have is not known; write them out"),
];

pub(super) const IP_RANGE: &[Known] = &[honoured("CidrIp"), honoured("Description")];

pub(super) const IPV6_RANGE: &[Known] = &[honoured("CidrIpv6"), honoured("Description")];

pub(super) const TARGET_GROUP: &[Known] = &[
    honoured("TargetGroupName"),
    honoured("Name"),
    honoured("TargetGroupArn"),
    honoured("Protocol"),
    honoured("ProtocolVersion"),
    honoured("Port"),
    honoured("TargetType"),
    honoured("HealthCheckEnabled"),
    honoured("HealthCheckProtocol"),
    honoured("HealthCheckPort"),
    honoured("HealthCheckPath"),
    honoured("HealthCheckIntervalSeconds"),
    honoured("HealthCheckTimeoutSeconds"),
    honoured("HealthyThresholdCount"),
    honoured("UnhealthyThresholdCount"),
    honoured("Matcher"),
    honoured("TargetGroupAttributes"),
    honoured("Targets"),
    Known::refused("TargetControlPort", "there is no target optimizer"),
    Known::ignored("IpAddressType", "targets of both kinds may stand side by side"),
    Known::ignored("LoadBalancerArns", ARN_OF_NOTHING),
    VPC,
    TAGS,
];

pub(super) const MATCHER: &[Known] =
    &[honoured("HttpCode"), Known::refused("GrpcCode", "targets are not asked by gRPC yet")];

pub(super) const TARGET: &[Known] = &[
    honoured("Id"),
    honoured("Port"),
    Known::ignored("AvailabilityZone", "there are no zones here"),
    Known::refused("QuicServerId", "it is for Network Load Balancers"),
];

pub(super) const LISTENER: &[Known] = &[
    honoured("Protocol"),
    honoured("Port"),
    honoured("DefaultActions"),
    honoured("Rules"),
    honoured("ListenerAttributes"),
    Known::refused("Certificates", NO_TLS),
    Known::refused("SslPolicy", NO_TLS),
    Known::refused("MutualAuthentication", NO_TLS),
    Known::refused("AlpnPolicy", "it is for Network Load Balancers"),
    Known::ignored("ListenerArn", ARN_OF_NOTHING),
    Known::ignored("LoadBalancerArn", ARN_OF_NOTHING),
    TAGS,
];

pub(super) const RULE: &[Known] = &[
    honoured("Priority"),
    honoured("Conditions"),
    honoured("Actions"),
    honoured("IsDefault"),
    Known::refused("Transforms", "requests are not rewritten yet"),
    Known::ignored("RuleArn", ARN_OF_NOTHING),
    TAGS,
];

pub(super) const CONDITION: &[Known] = &[
    honoured("Field"),
    honoured("Values"),
    honoured("HostHeaderConfig"),
    honoured("PathPatternConfig"),
    honoured("HttpHeaderConfig"),
    honoured("HttpRequestMethodConfig"),
    honoured("QueryStringConfig"),
    honoured("SourceIpConfig"),
    Known::refused("RegexValues", NO_REGEX),
];

/// Of host-header and path-pattern.
pub(super) const PATTERNS: &[Known] =
    &[honoured("Values"), Known::refused("RegexValues", NO_REGEX)];

pub(super) const HTTP_HEADER: &[Known] =
    &[honoured("HttpHeaderName"), honoured("Values"), Known::refused("RegexValues", NO_REGEX)];

/// Of http-request-method and query-string.
pub(super) const VALUES: &[Known] = &[honoured("Values")];

pub(super) const QUERY_PAIR: &[Known] = &[honoured("Key"), honoured("Value")];

pub(super) const SOURCE_IP: &[Known] =
    &[honoured("Values"), Known::refused("IpAddressType", "it is for Network Load Balancers")];

pub(super) const ACTION: &[Known] = &[
    honoured("Type"),
    honoured("Order"),
    honoured("TargetGroupArn"),
    honoured("ForwardConfig"),
    honoured("RedirectConfig"),
    honoured("FixedResponseConfig"),
    Known::refused("AuthenticateOidcConfig", NO_AUTHENTICATION),
    Known::refused("AuthenticateCognitoConfig", NO_AUTHENTICATION),
    Known::refused("JwtValidationConfig", NO_AUTHENTICATION),
];

pub(super) const FORWARD: &[Known] =
    &[honoured("TargetGroups"), honoured("TargetGroupStickinessConfig")];

pub(super) const WEIGHTED_GROUP: &[Known] = &[honoured("TargetGroupArn"), honoured("Weight")];

pub(super) const GROUP_STICKINESS: &[Known] = &[honoured("Enabled"), honoured("DurationSeconds")];

pub(super) const REDIRECT: &[Known] = &[
    honoured("StatusCode"),
    honoured("Protocol"),
    honoured("Host"),
    honoured("Port"),
    honoured("Path"),
    honoured("Query"),
];

pub(super) const FIXED_RESPONSE: &[Known] =
    &[honoured("StatusCode"), honoured("ContentType"), honoured("MessageBody")];

// Values that are chosen by name.

const FOR_NETWORK: &str = "it is for Network Load Balancers";
const FOR_GATEWAY: &str = "it is for Gateway Load Balancers";

pub(super) const BALANCER_TYPES: &[Known] = &[
    honoured("application"),
    Known::refused("network", "this is an application load balancer"),
    Known::refused("gateway", "this is an application load balancer"),
];

/// Of listeners and of target groups.
pub(super) const PROTOCOLS: &[Known] = &[
    honoured("HTTP"),
    Known::refused("HTTPS", NO_TLS),
    Known::refused("TCP", FOR_NETWORK),
    Known::refused("TLS", FOR_NETWORK),
    Known::refused("UDP", FOR_NETWORK),
    Known::refused("TCP_UDP", FOR_NETWORK),
    Known::refused("QUIC", FOR_NETWORK),
    Known::refused("TCP_QUIC", FOR_NETWORK),
    Known::refused("GENEVE", FOR_GATEWAY),
];

pub(super) const PROTOCOL_VERSIONS: &[Known] = &[
    honoured("HTTP1"),
    Known::refused("HTTP2", "targets are asked by HTTP/1.1 only, yet"),
    Known::refused("GRPC", "targets are asked by HTTP/1.1 only, yet"),
];

pub(super) const TARGET_TYPES: &[Known] = &[
    honoured("instance"),
    honoured("ip"),
    Known::refused("lambda", "there are no functions to call here"),
    Known::refused("alb", "it is for Network Load Balancers"),
];

pub(super) const CHECK_PROTOCOLS: &[Known] = &[honoured("HTTP"), Known::refused("HTTPS", NO_TLS)];

pub(super) const CONDITION_FIELDS: &[Known] = &[
    honoured("host-header"),
    honoured("path-pattern"),
    honoured("http-header"),
    honoured("http-request-method"),
    honoured("query-string"),
    honoured("source-ip"),
];

pub(super) const ACTION_TYPES: &[Known] = &[
    honoured("forward"),
    honoured("redirect"),
    honoured("fixed-response"),
    Known::refused("authenticate-oidc", NO_AUTHENTICATION),
    Known::refused("authenticate-cognito", NO_AUTHENTICATION),
    Known::refused("jwt-validation", NO_AUTHENTICATION),
];

pub(super) const REDIRECT_STATUSES: &[Known] = &[honoured("HTTP_301"), honoured("HTTP_302")];

pub(super) const REDIRECT_PROTOCOLS: &[Known] =
    &[honoured("HTTP"), honoured("HTTPS"), honoured("#{protocol}")];

pub(super) const CONTENT_TYPES: &[Known] = &[
    honoured("text/plain"),
    honoured("text/css"),
    honoured("text/html"),
    honoured("application/javascript"),
    honoured("application/json"),
];
