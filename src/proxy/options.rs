//! What is done with the messages of all clients: settings with their defaults.

/// What is done with the messages of all clients; the counterparts of ALB's `routing.http.*`
/// attributes, and more.
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | `forwarded_for` | [`ForwardedFor::Append`] | ALB's |
/// | `forwarded_for_port` | no | ALB's |
///
/// # Examples
///
/// ```
/// use pointsman::{LoadBalancer, RuleTable, TargetGroup, proxy::{ForwardedFor, HttpOptions}};
///
/// let web = TargetGroup::builder("web").build().unwrap();
/// let options = HttpOptions::new().forwarded_for(ForwardedFor::Remove);
/// let balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(&web));
/// # drop(balancer);
/// ```
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    pub(crate) forwarded_for: ForwardedFor,
    pub(crate) forwarded_for_port: bool,
}

/// What becomes of X-Forwarded-For; ALB's `routing.http.xff_header_processing.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedFor {
    /// The client's address is appended to what came.
    #[default]
    Append,
    /// What came is passed on as it is, and nothing is written where nothing came.
    Preserve,
    /// Targets get none.
    Remove,
}

impl HttpOptions {
    /// Makes options of the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what becomes of X-Forwarded-For. Without a [`Peer`](crate::Peer) targets get none.
    #[must_use]
    pub fn forwarded_for(mut self, mode: ForwardedFor) -> Self {
        self.forwarded_for = mode;
        self
    }

    /// Sets whether the client's port is appended with its address: `192.0.2.1:50000`,
    /// `[2001:db8::1]:50000`.
    #[must_use]
    pub fn forwarded_for_port(mut self, port: bool) -> Self {
        self.forwarded_for_port = port;
        self
    }
}
