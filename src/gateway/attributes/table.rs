//! Every attribute of a load balancer, a listener and a target group: its key, what ALB admits and
//! takes if it is not given, and what becomes of it here.

use super::values::{
    OFF,
    Values::{
        self, Boolean, CookieName, Count, CountOrOff, HeaderName, HeaderValue, Number,
        NumberOrZero, OneOf, PercentOrOff, Prefix, Text,
    },
};

/// What is known of an attribute.
#[derive(Debug)]
pub(in crate::gateway) struct Attribute {
    pub(in crate::gateway) key: &'static str,
    /// What ALB takes if it is not given; to give it says the same, but for how long idle connections
    /// are kept.
    pub(in crate::gateway) default: &'static str,
    pub(in crate::gateway) values: Values,
    pub(in crate::gateway) becomes: Becomes,
}

/// What becomes of an attribute.
#[derive(Debug)]
pub(in crate::gateway) enum Becomes {
    /// Every value is done as ALB does it.
    Honoured,
    /// These values are done as ALB does it; others are refused, for this reason.
    HonouredIf(&'static [&'static str], &'static str),
    /// It has no effect, for this reason: a warning, unless it is the default.
    Ignored(&'static str),
    /// These values are what is done anyway; others have no effect, for this reason.
    IgnoredUnless(&'static [&'static str], &'static str),
    /// It cannot be had, for this reason.
    Refused(&'static str),
}

use Becomes::{Honoured, HonouredIf, Ignored, IgnoredUnless, Refused};

const fn attribute(
    key: &'static str,
    default: &'static str,
    values: Values,
    becomes: Becomes,
) -> Attribute {
    Attribute { key, default, values, becomes }
}

pub(in crate::gateway) const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";
pub(in crate::gateway) const STICKINESS: &str = "stickiness.enabled";
pub(in crate::gateway) const STICKINESS_DURATION: &str = "stickiness.lb_cookie.duration_seconds";
pub(in crate::gateway) const ALGORITHM: &str = "load_balancing.algorithm.type";
pub(in crate::gateway) const LEAST_OUTSTANDING_REQUESTS: &str = "least_outstanding_requests";
pub(in crate::gateway) const IDLE_TIMEOUT: &str = "idle_timeout.timeout_seconds";
pub(in crate::gateway) const CLIENT_KEEP_ALIVE: &str = "client_keep_alive.seconds";
pub(in crate::gateway) const PRESERVE_HOST: &str = "routing.http.preserve_host_header.enabled";
pub(in crate::gateway) const XFF_CLIENT_PORT: &str = "routing.http.xff_client_port.enabled";
pub(in crate::gateway) const XFF_MODE: &str = "routing.http.xff_header_processing.mode";
pub(in crate::gateway) const DESYNC_MODE: &str = "routing.http.desync_mitigation_mode";
pub(in crate::gateway) const DROP_INVALID: &str = "routing.http.drop_invalid_header_fields.enabled";

const FOR_NETWORK: &str = "it is for Network Load Balancers";
const FOR_GATEWAY: &str = "it is for Gateway Load Balancers";
const FOR_LAMBDA: &str = "it is for groups of functions";
const NO_ZONES: &str = "there are no zones here";
const NO_DNS: &str = "its own addresses are in no DNS";
const NO_WAF: &str = "there is no WAF";
const NO_LOGS: &str = "there is no bucket to write logs to";
const NO_APP_COOKIE: &str = "sessions are not kept by an application's cookie yet";
const NO_THRESHOLD: &str = "all targets get traffic only when none is healthy, yet";
const NO_TLS: &str = "there is no TLS yet, so that no such field is written";
const NO_HTTP2: &str = "there is no TLS and so no HTTP/2, and names of fields may be what HTTP/1.1 \
                        admits";
const NO_HEADERS: &str = "answers are not changed yet";

/// ModifyTargetGroupAttributes.
pub(in crate::gateway) const TARGET_GROUP: &[Attribute] = &[
    attribute(DEREGISTRATION_DELAY, "300", Number(0, 3600), Honoured),
    attribute(STICKINESS, "false", Boolean, Honoured),
    attribute(
        "stickiness.type",
        "lb_cookie",
        OneOf(&["lb_cookie", "app_cookie"]),
        HonouredIf(&["lb_cookie"], NO_APP_COOKIE),
    ),
    attribute(STICKINESS_DURATION, "86400", Number(1, 604_800), Honoured),
    attribute(
        "stickiness.app_cookie.duration_seconds",
        "86400",
        Number(1, 604_800),
        Ignored(NO_APP_COOKIE),
    ),
    attribute("stickiness.app_cookie.cookie_name", "", CookieName, Ignored(NO_APP_COOKIE)),
    attribute(
        ALGORITHM,
        "round_robin",
        OneOf(&["round_robin", LEAST_OUTSTANDING_REQUESTS, "weighted_random"]),
        HonouredIf(&["round_robin", LEAST_OUTSTANDING_REQUESTS], "it is not here yet"),
    ),
    attribute(
        "load_balancing.algorithm.anomaly_mitigation",
        OFF,
        OneOf(&["on", OFF]),
        HonouredIf(&[OFF], "targets that stand out by errors are not noticed yet"),
    ),
    attribute(
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
        OneOf(&["true", "false", "use_load_balancer_configuration"]),
        HonouredIf(&["true", "use_load_balancer_configuration"], NO_ZONES),
    ),
    attribute(
        "slow_start.duration_seconds",
        "0",
        NumberOrZero(30, 900),
        HonouredIf(&["0"], "targets do not start slowly yet"),
    ),
    attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
        Count,
        HonouredIf(&["1"], NO_THRESHOLD),
    ),
    attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        OFF,
        PercentOrOff,
        HonouredIf(&[OFF], NO_THRESHOLD),
    ),
    attribute(
        "target_group_health.dns_failover.minimum_healthy_targets.count",
        "1",
        CountOrOff,
        Ignored(NO_DNS),
    ),
    attribute(
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        OFF,
        PercentOrOff,
        Ignored(NO_DNS),
    ),
    attribute("waf.http2.traffic_inspection_behavior", "", Text, Ignored(NO_WAF)),
    attribute("lambda.multi_value_headers.enabled", "false", Boolean, Refused(FOR_LAMBDA)),
    attribute(
        "deregistration_delay.connection_termination.enabled",
        "false",
        Boolean,
        Refused(FOR_NETWORK),
    ),
    attribute("preserve_client_ip.enabled", "false", Boolean, Refused(FOR_NETWORK)),
    attribute("proxy_protocol_v2.enabled", "false", Boolean, Refused(FOR_NETWORK)),
    attribute(
        "target_health_state.unhealthy.connection_termination.enabled",
        "true",
        Boolean,
        Refused(FOR_NETWORK),
    ),
    attribute(
        "target_health_state.unhealthy.draining_interval_seconds",
        "0",
        Number(0, 360_000),
        Refused(FOR_NETWORK),
    ),
    attribute(
        "target_failover.on_deregistration",
        "no_rebalance",
        OneOf(&["rebalance", "no_rebalance"]),
        Refused(FOR_GATEWAY),
    ),
    attribute(
        "target_failover.on_unhealthy",
        "no_rebalance",
        OneOf(&["rebalance", "no_rebalance"]),
        Refused(FOR_GATEWAY),
    ),
    attribute("send_tcp_reset.on_unhealthy.enabled", "false", Boolean, Refused(FOR_GATEWAY)),
    attribute("send_tcp_reset.on_deregistration.enabled", "false", Boolean, Refused(FOR_GATEWAY)),
];

/// ModifyLoadBalancerAttributes.
pub(in crate::gateway) const LOAD_BALANCER: &[Attribute] = &[
    attribute(IDLE_TIMEOUT, "60", Number(1, 4000), Honoured),
    attribute(CLIENT_KEEP_ALIVE, "3600", Number(60, 604_800), Honoured),
    attribute(DESYNC_MODE, "defensive", OneOf(&["monitor", "defensive", "strictest"]), Honoured),
    attribute(DROP_INVALID, "false", Boolean, Honoured),
    attribute(PRESERVE_HOST, "false", Boolean, Honoured),
    attribute(
        "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
        "false",
        Boolean,
        HonouredIf(&["false"], NO_TLS),
    ),
    attribute(XFF_CLIENT_PORT, "false", Boolean, Honoured),
    attribute(XFF_MODE, "append", OneOf(&["append", "preserve", "remove"]), Honoured),
    attribute("routing.http2.enabled", "true", Boolean, IgnoredUnless(&["false"], NO_HTTP2)),
    attribute(
        "load_balancing.cross_zone.enabled",
        "true",
        Boolean,
        HonouredIf(&["true"], "it cannot be changed"),
    ),
    attribute(
        "ipv6.deny_all_igw_traffic",
        "false",
        Boolean,
        HonouredIf(&["false"], "say in SecurityGroups who may connect"),
    ),
    attribute("deletion_protection.enabled", "false", Boolean, Ignored("nothing deletes it")),
    attribute("zonal_shift.config.enabled", "false", Boolean, Ignored(NO_ZONES)),
    attribute("waf.fail_open.enabled", "false", Boolean, Ignored(NO_WAF)),
    attribute("access_logs.s3.enabled", "false", Boolean, Ignored(NO_LOGS)),
    attribute("access_logs.s3.bucket", "", Text, Ignored(NO_LOGS)),
    attribute("access_logs.s3.prefix", "", Prefix, Ignored(NO_LOGS)),
    attribute("connection_logs.s3.enabled", "false", Boolean, Ignored(NO_LOGS)),
    attribute("connection_logs.s3.bucket", "", Text, Ignored(NO_LOGS)),
    attribute("connection_logs.s3.prefix", "", Prefix, Ignored(NO_LOGS)),
    attribute("health_check_logs.s3.enabled", "false", Boolean, Ignored(NO_LOGS)),
    attribute("health_check_logs.s3.bucket", "", Text, Ignored(NO_LOGS)),
    attribute("health_check_logs.s3.prefix", "", Prefix, Ignored(NO_LOGS)),
    attribute(
        "dns_record.client_routing_policy",
        "any_availability_zone",
        OneOf(&[
            "availability_zone_affinity",
            "partial_availability_zone_affinity",
            "any_availability_zone",
        ]),
        Refused(FOR_NETWORK),
    ),
    attribute("secondary_ips.auto_assigned.per_subnet", "0", Number(0, 7), Refused(FOR_NETWORK)),
];

/// ModifyListenerAttributes.
pub(in crate::gateway) const LISTENER: &[Attribute] = &[
    attribute(
        "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
        "X-Amzn-Mtls-Clientcert-Serial-Number",
        HeaderName,
        Ignored(NO_TLS),
    ),
    attribute(
        "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
        "X-Amzn-Mtls-Clientcert-Issuer",
        HeaderName,
        Ignored(NO_TLS),
    ),
    attribute(
        "routing.http.request.x_amzn_mtls_clientcert_subject.header_name",
        "X-Amzn-Mtls-Clientcert-Subject",
        HeaderName,
        Ignored(NO_TLS),
    ),
    attribute(
        "routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
        "X-Amzn-Mtls-Clientcert-Validity",
        HeaderName,
        Ignored(NO_TLS),
    ),
    attribute(
        "routing.http.request.x_amzn_mtls_clientcert_leaf.header_name",
        "X-Amzn-Mtls-Clientcert-Leaf",
        HeaderName,
        Ignored(NO_TLS),
    ),
    attribute(
        "routing.http.request.x_amzn_mtls_clientcert.header_name",
        "X-Amzn-Mtls-Clientcert",
        HeaderName,
        Ignored(NO_TLS),
    ),
    attribute(
        "routing.http.request.x_amzn_tls_version.header_name",
        "X-Amzn-Tls-Version",
        HeaderName,
        Ignored(NO_TLS),
    ),
    attribute(
        "routing.http.request.x_amzn_tls_cipher_suite.header_name",
        "X-Amzn-Tls-Cipher-Suite",
        HeaderName,
        Ignored(NO_TLS),
    ),
    attribute(
        "routing.http.response.server.enabled",
        "true",
        Boolean,
        IgnoredUnless(&["false"], "its own answers never have a Server"),
    ),
    response("routing.http.response.strict_transport_security.header_value"),
    response("routing.http.response.access_control_allow_origin.header_value"),
    response("routing.http.response.access_control_allow_methods.header_value"),
    response("routing.http.response.access_control_allow_headers.header_value"),
    response("routing.http.response.access_control_allow_credentials.header_value"),
    response("routing.http.response.access_control_expose_headers.header_value"),
    response("routing.http.response.access_control_max_age.header_value"),
    response("routing.http.response.content_security_policy.header_value"),
    response("routing.http.response.x_content_type_options.header_value"),
    response("routing.http.response.x_frame_options.header_value"),
    attribute("tcp.idle_timeout.seconds", "350", Number(60, 6000), Refused(FOR_NETWORK)),
    attribute("send_tcp_reset.on_idle_timeout.enabled", "false", Boolean, Refused(FOR_GATEWAY)),
];

const fn response(key: &'static str) -> Attribute {
    attribute(key, "", HeaderValue, HonouredIf(&[""], NO_HEADERS))
}
