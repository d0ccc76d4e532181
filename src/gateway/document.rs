//! A whole document: read, checked, and looked at for what was probably not meant.

use std::collections::HashSet;

use super::{
    attributes::{self, Attributes},
    fields,
    group::{self, KnownGroup},
    json::Json,
    lint::lint,
    listener,
    plan::{GroupPlan, HttpPlan, ListenerPlan},
    reader::{Node, Object},
    report::{Finding, InvalidDocument, Report},
    security_group::SecurityGroups,
};
use crate::{
    endpoint::Transport,
    proxy::{DesyncMode, ForwardedFor},
    server::Limits,
};

/// ALB's quotas of one load balancer.
const LISTENERS_MAX: usize = 50;
const RULES_MAX: usize = 100;
const GROUPS_MAX: usize = 100;
const TARGETS_MAX: usize = 1000;

/// A document that was checked: listeners, rules, target groups, security groups.
///
/// # Examples
///
/// ```
/// use pointsman::gateway::Document;
///
/// let text = r#"{
///     "TargetGroups": [{
///         "TargetGroupName": "web", "Protocol": "HTTP", "Port": 3000, "VpcId": "vpc-1",
///         "Targets": [{"Id": "127.0.0.1"}, {"Id": "app.internal", "Port": 3001}]
///     }],
///     "Listeners": [{
///         "Protocol": "HTTP", "Port": 8080,
///         "DefaultActions": [{"Type": "forward", "TargetGroupArn": "web"}]
///     }]
/// }"#;
/// let document = Document::parse(text)?;
/// assert_eq!(document.ports().collect::<Vec<_>>(), [8080]);
/// assert_eq!(
///     document.warnings()[0].to_string(),
///     "TargetGroups[0].VpcId: \"vpc-1\": ignored, there are no networks of a cloud here",
/// );
///
/// // Everything that is wrong is said at once, and where.
/// let errors = Document::parse(&text.replace("forward", "froward").replace("3001", "0")).unwrap_err();
/// assert_eq!(
///     errors.to_string(),
///     "TargetGroups[0].Targets[1].Port: 0: expected 1 to 65535\n\
///      Listeners[0].DefaultActions[0].Type: \"froward\": \
///      expected forward, redirect or fixed-response, did you mean forward?",
/// );
/// # Ok::<_, pointsman::gateway::InvalidDocument>(())
/// ```
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) http: HttpPlan,
    pub(super) groups: Vec<GroupPlan>,
    pub(super) listeners: Vec<ListenerPlan>,
    pub(super) security_groups: SecurityGroups,
    /// Of the connections of clients.
    pub(super) limits: Limits,
    warnings: Vec<Finding>,
    lints: Vec<Finding>,
}

impl Document {
    /// Reads and checks a document.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it at once; of a text that is no JSON, where it ceases to be.
    pub fn parse(text: &str) -> Result<Self, InvalidDocument> {
        let json = Json::parse(text).map_err(|error| InvalidDocument::of(syntax(&error)))?;
        let mut report = Report::default();
        let mut document = Self {
            http: HttpPlan::default(),
            groups: Vec::new(),
            listeners: Vec::new(),
            security_groups: SecurityGroups::default(),
            limits: Limits::default(),
            warnings: Vec::new(),
            lints: Vec::new(),
        };
        if let Some(object) = Node::root(&json).object(fields::DOCUMENT, &mut report) {
            document.read(&object, &mut report);
        }
        document.warnings = report.into_result()?;
        document.lints = lint(&document.groups, &document.listeners, &document.security_groups);
        Ok(document)
    }

    /// Returns what has no effect here, one line each.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// Returns what is legal and probably wrong, one line each: a target group that no rule uses, a
    /// listener's port that no security group opens, a rule that is never reached.
    pub fn lints(&self) -> &[Finding] {
        &self.lints
    }

    /// Returns the ports of the listeners, in their order.
    pub fn ports(&self) -> impl ExactSizeIterator<Item = u16> {
        self.listeners.iter().map(|listener| listener.port)
    }

    /// Returns who may connect.
    pub fn security_groups(&self) -> &SecurityGroups {
        &self.security_groups
    }

    fn read(&mut self, object: &Object<'_>, report: &mut Report) {
        if let Some(node) = object.get("Type") {
            node.choice(fields::BALANCER_TYPES, report);
        }
        let attributes = object.get("LoadBalancerAttributes");
        let attributes = Attributes::read(attributes, attributes::LOAD_BALANCER, report);
        if let Some(list) = object.get("SecurityGroups") {
            self.security_groups = SecurityGroups::read(&list, report);
            if self.security_groups.is_empty() && list.is_list() {
                let text = "as if it was not there, so that everybody may connect";
                report.warning(Finding::new(list.path(), Some("[]".to_owned()), text));
            }
        }
        self.http = http(&attributes);
        let idle_timeout = attributes.seconds(attributes::IDLE_TIMEOUT);
        self.limits.idle = idle_timeout;
        // ALB has one timeout for both.
        self.limits.head = self.limits.head.min(idle_timeout);
        self.limits.keep_alive = attributes.seconds(attributes::CLIENT_KEEP_ALIVE);
        let known = self.read_groups(object, &transport(&attributes), report);
        self.read_listeners(object, &known, report);
    }

    fn read_groups(
        &mut self,
        object: &Object<'_>,
        transport: &Transport,
        report: &mut Report,
    ) -> Vec<KnownGroup> {
        let Some(list) = object.get("TargetGroups") else { return Vec::new() };
        let mut known: Vec<KnownGroup> = Vec::new();
        let mut names = HashSet::new();
        for item in list.list(report) {
            let Some((group, plan)) = group::read(&item, transport, report) else { continue };
            // A reference may be either, so neither may be taken.
            let own = [Some(group.name.to_string()), group.arn.clone()];
            for name in own.into_iter().flatten() {
                if !names.insert(name.clone()) {
                    let text = format!("expected no two target groups called {name}");
                    item.refuse(text, report);
                }
            }
            known.push(group);
            self.groups.extend(plan);
        }
        limit(&list, "target groups", known.len(), GROUPS_MAX, report);
        let targets = self.groups.iter().map(|group| group.targets.len()).sum();
        limit(&list, "targets", targets, TARGETS_MAX, report);
        known
    }

    fn read_listeners(&mut self, object: &Object<'_>, groups: &[KnownGroup], report: &mut Report) {
        let Some(list) = object.need("Listeners", "at least one listener", report) else { return };
        let items = list.list(report);
        if items.is_empty() && list.is_list() {
            list.expected("at least one listener", report);
        }
        let mut ports = HashSet::new();
        for item in &items {
            let (port, plan) = listener::read(item, groups, report);
            if let Some(port) = port.filter(|port| !ports.insert(*port)) {
                let text = format!("port {port} is in use, expected no two listeners with one");
                item.refuse(text, report);
            }
            self.listeners.extend(plan);
        }
        limit(&list, "listeners", items.len(), LISTENERS_MAX, report);
        let rules = self.listeners.iter().map(|listener| listener.rules.len()).sum();
        limit(&list, "rules", rules, RULES_MAX, report);
    }
}

/// Reads what is done with the messages of all clients.
fn http(attributes: &Attributes) -> HttpPlan {
    HttpPlan {
        forwarded_for: match attributes.text(attributes::XFF_MODE) {
            "preserve" => ForwardedFor::Preserve,
            "remove" => ForwardedFor::Remove,
            _ => ForwardedFor::Append,
        },
        forwarded_for_port: attributes.is(attributes::XFF_CLIENT_PORT, "true"),
        preserve_host_header: attributes.is(attributes::PRESERVE_HOST, "true"),
        desync_mode: match attributes.text(attributes::DESYNC_MODE) {
            "monitor" => DesyncMode::Monitor,
            "strictest" => DesyncMode::Strictest,
            _ => DesyncMode::Defensive,
        },
        drop_invalid_header_fields: attributes.is(attributes::DROP_INVALID, "true"),
    }
}

/// Reads how targets are reached. What ALB keeps idle connections for by default is as long as common
/// servers do, so that only who asks for it gets it.
fn transport(attributes: &Attributes) -> Transport {
    let idle_timeout = attributes.seconds(attributes::IDLE_TIMEOUT);
    let transport = Transport::new().answer_timeout(idle_timeout).idle_timeout(idle_timeout);
    if attributes.gives(attributes::IDLE_TIMEOUT) {
        transport.connection_idle_timeout(idle_timeout)
    } else {
        transport
    }
}

/// Says that there are too many, if there are.
fn limit(list: &Node<'_>, what: &str, count: usize, max: usize, report: &mut Report) {
    if count > max {
        list.refuse(format_args!("{count} {what}, expected {max} at most"), report);
    }
}

/// Says where a text ceases to be JSON.
fn syntax(error: &serde_json::Error) -> Finding {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let text = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    Finding::new(format!("line {line}, column {column}"), None, text)
}
