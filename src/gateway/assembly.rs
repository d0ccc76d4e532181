//! A document made into target groups and tables of rules, beside those of the document before.
//!
//! Making changes nothing that runs: what stays is taken over as it is, and gets its new settings and
//! targets when the caller says so.

use std::{collections::HashMap, sync::Arc};

use super::{
    answer::on_error,
    document::Document,
    plan::{GroupSettings, HttpPlan},
    report::{Finding, InvalidDocument},
};
use crate::{
    balancer::LoadBalancer, group::TargetGroup, id::GroupName, proxy::HttpOptions, rule::RuleTable,
    stickiness::CookieKey, target::Target,
};

/// The parts of a running load balancer, made of a [`Document`].
///
/// # Examples
///
/// ```
/// use pointsman::{gateway::Document, stickiness::CookieKey};
///
/// let text = |targets: &str| format!(r#"{{
///     "TargetGroups": [{{
///         "TargetGroupName": "web", "Protocol": "HTTP", "Port": 3000, "Targets": [{targets}]
///     }}],
///     "Listeners": [{{
///         "Protocol": "HTTP", "Port": 8080,
///         "DefaultActions": [{{"Type": "forward", "TargetGroupArn": "web"}}]
///     }}]
/// }}"#);
/// let key = CookieKey::generate()?;
/// let first = Document::parse(&text(r#"{"Id": "127.0.0.1"}"#))?.assemble(&key, None)?;
/// first.apply();
/// let balancer = first.listeners()[0].balancer();
/// assert_eq!(balancer.group("web").unwrap().status().healthy(), 0);
///
/// // Another document: the group is the same, so what is known of its targets stays.
/// let next = Document::parse(&text(r#"{"Id": "127.0.0.1"}, {"Id": "127.0.0.2"}"#))?;
/// let next = next.assemble(&key, Some(&first))?;
/// next.apply();
/// next.listeners()[0].apply_to(&balancer);
/// assert_eq!(next.group("web"), first.group("web"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Assembly {
    groups: Vec<AssembledGroup>,
    listeners: Vec<Listener>,
    key: CookieKey,
    http: HttpPlan,
    options: Arc<HttpOptions>,
}

#[derive(Clone, Debug)]
struct AssembledGroup {
    group: TargetGroup,
    settings: GroupSettings,
    /// Whether the group runs with other settings.
    changed: bool,
    targets: Vec<Target>,
}

/// A listener of a document: where it listens, and what it does with requests.
#[derive(Clone, Debug)]
pub struct Listener {
    port: u16,
    rules: RuleTable,
    options: Arc<HttpOptions>,
}

impl Listener {
    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its rules.
    pub fn rules(&self) -> &RuleTable {
        &self.rules
    }

    /// Makes a balancer of its rules that treats messages and answers errors as ALB does.
    pub fn balancer(&self) -> LoadBalancer {
        let balancer = LoadBalancer::builder().http(Arc::clone(&self.options));
        balancer.on_error(on_error).build(self.rules.clone())
    }

    /// Gives its rules, and how messages are treated, to a balancer that a listener of another
    /// document made.
    pub fn apply_to(&self, balancer: &LoadBalancer) {
        balancer.install(self.rules.clone(), Arc::clone(&self.options));
    }
}

impl Document {
    /// Makes groups and tables of rules.
    ///
    /// A group of `running` with the same name is the same group, and keeps what is known of its
    /// targets, and its sessions as long as the key is the same. Nothing of `running` changes before
    /// [`Assembly::apply`].
    ///
    /// # Errors
    ///
    /// None that is known: what the library refuses was refused when the document was parsed.
    pub fn assemble(
        &self,
        key: &CookieKey,
        running: Option<&Assembly>,
    ) -> Result<Assembly, InvalidDocument> {
        let refuse = |path: &str, error: &dyn std::fmt::Display| {
            let text = error.to_string().replace('\n', " ");
            InvalidDocument::of(Finding::new(path, None, text))
        };
        // What stays is the same, so that open connections need not notice.
        let same = running.filter(|running| running.http == self.http);
        let options = same
            .map_or_else(|| Arc::new(self.http.options()), |running| Arc::clone(&running.options));
        let running: HashMap<&GroupName, &AssembledGroup> = running
            .iter()
            .flat_map(|running| &running.groups)
            .map(|group| (group.group.name(), group))
            .collect();
        let mut groups = Vec::new();
        let mut by_name = HashMap::new();
        for plan in &self.groups {
            // Also of a group that stays, so that wrong settings are known before anything changes.
            let builder = plan.settings.builder(&plan.name, key);
            let built = builder.map_err(|error| refuse(&plan.path, &error))?.build();
            let built = built.map_err(|error| refuse(&plan.path, &error))?;
            let running = running.get(&plan.name);
            let changed = running.is_some_and(|running| running.settings != plan.settings);
            let group = running.map_or(built, |running| running.group.clone());
            by_name.insert(plan.name.clone(), group.clone());
            let (settings, targets) = (plan.settings.clone(), plan.targets.clone());
            groups.push(AssembledGroup { group, settings, changed, targets });
        }
        let mut listeners = Vec::new();
        for plan in &self.listeners {
            let rules = plan.table(&by_name).map_err(|error| refuse(&plan.path, &error))?;
            listeners.push(Listener { port: plan.port, rules, options: Arc::clone(&options) });
        }
        Ok(Assembly { groups, listeners, key: key.clone(), http: self.http.clone(), options })
    }
}

impl Assembly {
    /// Gives every group the settings and targets of its document: targets that stay keep their
    /// health, counts and connections, others are drained. To be called before the rules are used, or
    /// swapped.
    pub fn apply(&self) {
        for AssembledGroup { group, settings, changed, targets } in &self.groups {
            if *changed {
                let builder = settings.builder(group.name(), &self.key);
                let reconfigured = builder
                    .map_err(|error| error.to_string())
                    .and_then(|b| group.reconfigure(b).map_err(|error| error.to_string()));
                if let Err(error) = reconfigured {
                    // The same settings built a group before.
                    tracing::error!(group = %group.name(), error, "the settings stay as they were");
                }
            }
            group.set_targets(targets.iter().cloned());
        }
    }

    /// Returns the listeners, in the order of the document.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Returns the groups, in the order of the document; also those that no rule uses.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &TargetGroup> {
        self.groups.iter().map(|group| &group.group)
    }

    /// Returns the group of this name.
    pub fn group(&self, name: &str) -> Option<&TargetGroup> {
        self.groups().find(|group| *group.name() == *name)
    }
}
