//! What a checked document says, in the library's terms: values that can be compared, and how a
//! group and a table of rules are made of them.
//!
//! Nothing is checked here that the document's reader has to refuse.

use std::{collections::HashMap, time::Duration};

use super::answer::page;
use crate::{
    algorithm::{LeastOutstandingRequests, RoundRobin},
    endpoint::Transport,
    group::{HealthCheck, TargetGroup, TargetGroupBuilder},
    id::GroupName,
    proxy::{DesyncMode, ForwardedFor, HttpOptions, TraceIds},
    rule::{
        Action, Condition, FixedResponse, Forward, InvalidRules, QueryPair, Redirect, Rule,
        RuleTable,
    },
    stickiness::{CookieKey, InvalidCookie, LoadBalancerCookie},
    target::Target,
};

/// ALB's name of the cookie; its twin is AWSALBCORS.
const COOKIE: &str = "AWSALB";

/// What ALB's health checks call themselves.
const USER_AGENT: &str = "ELB-HealthChecker/2.0";

/// What is done with the messages of all clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HttpPlan {
    pub(super) forwarded_for: ForwardedFor,
    pub(super) forwarded_for_port: bool,
    pub(super) preserve_host_header: bool,
    pub(super) desync_mode: DesyncMode,
    pub(super) drop_invalid_header_fields: bool,
}

impl HttpPlan {
    /// Returns the settings in the library's terms; what no attribute says is as at ALB.
    pub(super) fn options(&self) -> HttpOptions {
        HttpOptions::new()
            .forwarded_for(self.forwarded_for)
            .forwarded_for_port(self.forwarded_for_port)
            .preserve_host_header(self.preserve_host_header)
            .desync_mode(self.desync_mode)
            .drop_invalid_header_fields(self.drop_invalid_header_fields)
            .trace_ids(TraceIds::new())
            .strip_amzn_headers(true)
    }
}

/// A target group.
#[derive(Clone, Debug)]
pub(super) struct GroupPlan {
    /// Where in the document it stands.
    pub(super) path: String,
    pub(super) name: GroupName,
    pub(super) settings: GroupSettings,
    pub(super) targets: Vec<Target>,
}

/// What a group cannot change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupSettings {
    pub(super) least_outstanding_requests: bool,
    /// How long its sessions last, if it keeps any.
    pub(super) sticky: Option<Duration>,
    pub(super) deregistration_delay: Duration,
    pub(super) transport: Transport,
    pub(super) check: Check,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) path: String,
    /// `None` is the target's own.
    pub(super) port: Option<u16>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) healthy_threshold: u32,
    pub(super) unhealthy_threshold: u32,
    pub(super) matcher: String,
}

impl GroupSettings {
    /// Returns the settings in the library's terms.
    pub(super) fn builder(
        &self,
        name: &GroupName,
        key: &CookieKey,
    ) -> Result<TargetGroupBuilder, InvalidCookie> {
        let check = &self.check;
        let mut health_check = HealthCheck::http(&check.path)
            .interval(check.interval)
            .timeout(check.timeout)
            .healthy_threshold(check.healthy_threshold)
            .unhealthy_threshold(check.unhealthy_threshold)
            .matcher(&check.matcher)
            .header("user-agent", USER_AGENT);
        if let Some(port) = check.port {
            health_check = health_check.port(port);
        }
        let mut group = TargetGroup::builder(name.clone())
            .deregistration_delay(self.deregistration_delay)
            .transport(self.transport.clone())
            .health_check(health_check);
        group = if self.least_outstanding_requests {
            group.algorithm(LeastOutstandingRequests::default())
        } else {
            group.algorithm(RoundRobin::default())
        };
        if let Some(duration) = self.sticky {
            let cookie = LoadBalancerCookie::builder(key.clone())
                .name(COOKIE)
                .duration(duration)
                .http_only(false)
                .cors(true)
                .expires(true)
                .build()?;
            group = group.stickiness(cookie);
        }
        Ok(group)
    }
}

/// A listener with its rules, the default one apart.
#[derive(Clone, Debug)]
pub(super) struct ListenerPlan {
    /// Where in the document it stands.
    pub(super) path: String,
    pub(super) port: u16,
    pub(super) rules: Vec<RulePlan>,
    pub(super) default: ActionPlan,
}

#[derive(Clone, Debug)]
pub(super) struct RulePlan {
    /// Where in the document it stands.
    pub(super) path: String,
    pub(super) priority: u32,
    pub(super) conditions: Vec<ConditionPlan>,
    pub(super) action: ActionPlan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConditionPlan {
    HostHeader(Vec<String>),
    PathPattern(Vec<String>),
    HttpHeader(String, Vec<String>),
    HttpRequestMethod(Vec<String>),
    /// Values, each under a key or any.
    QueryString(Vec<(Option<String>, String)>),
    SourceIp(Vec<String>),
}

#[derive(Clone, Debug)]
pub(super) enum ActionPlan {
    Forward(Vec<(GroupName, u16)>),
    Redirect(Redirect),
    FixedResponse(FixedResponse),
}

impl ListenerPlan {
    /// Makes its table of rules, of groups that were made before.
    pub(super) fn table(
        &self,
        groups: &HashMap<GroupName, TargetGroup>,
    ) -> Result<RuleTable, InvalidRules> {
        let mut table = RuleTable::builder().default_action(self.default.action(groups));
        for rule in &self.rules {
            table = table.rule(rule.rule(groups));
        }
        table.build()
    }

    /// Returns what is done by the rules and by the default one.
    pub(super) fn actions(&self) -> impl Iterator<Item = &ActionPlan> {
        self.rules.iter().map(|rule| &rule.action).chain([&self.default])
    }
}

impl RulePlan {
    fn rule(&self, groups: &HashMap<GroupName, TargetGroup>) -> Rule {
        let rule = Rule::new(self.priority).then(self.action.action(groups));
        self.conditions.iter().fold(rule, |rule, condition| rule.when(condition.condition()))
    }
}

impl ConditionPlan {
    fn condition(&self) -> Condition {
        match self {
            Self::HostHeader(values) => Condition::host_header(values),
            Self::PathPattern(values) => Condition::path_pattern(values),
            Self::HttpHeader(name, values) => Condition::http_header(name, values),
            Self::HttpRequestMethod(values) => Condition::http_request_method(values),
            Self::QueryString(pairs) => {
                Condition::query_string(pairs.iter().map(|(key, value)| match key {
                    Some(key) => QueryPair::new(key, value),
                    None => QueryPair::any_key(value),
                }))
            }
            Self::SourceIp(values) => Condition::source_ip(values),
        }
    }
}

impl ActionPlan {
    /// Returns the groups it names.
    pub(super) fn groups(&self) -> &[(GroupName, u16)] {
        match self {
            Self::Forward(groups) => groups,
            Self::Redirect(_) | Self::FixedResponse(_) => &[],
        }
    }

    /// Tells whether it forwards to groups of which none may get anything.
    pub(super) fn is_without_weight(&self) -> bool {
        matches!(self, Self::Forward(groups) if groups.iter().all(|(_, weight)| *weight == 0))
    }

    fn action(&self, groups: &HashMap<GroupName, TargetGroup>) -> Action {
        match self {
            // ALB's documents do not say; as for a group without a target.
            _ if self.is_without_weight() => {
                FixedResponse::new(503).content_type("text/html").body(page(503)).into()
            }
            Self::Forward(named) => {
                // Each was found in the document, and made.
                let known = |(name, weight): &(GroupName, u16)| Some((groups.get(name)?, *weight));
                match named.as_slice() {
                    [one] => Forward::split(known(one).map(|(group, _)| (group, 1))).into(),
                    named => Forward::split(named.iter().filter_map(known)).into(),
                }
            }
            Self::Redirect(redirect) => redirect.clone().into(),
            Self::FixedResponse(fixed) => fixed.clone().into(),
        }
    }
}
