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
/// | `upgrade` | WebSocket | ALB's; more can be added |
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
    upgrades: Vec<Box<str>>,
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

    /// Lets clients change to another protocol, as named in `Upgrade`, beside WebSocket: once the target
    /// has agreed by a 101, bytes are carried both ways as they are.
    ///
    /// HTTP/2 cannot be named (`h2c`): its requests would pass by all rules. From requests that ask for
    /// anything else `Upgrade` is stripped, and they are answered as if they had not.
    ///
    /// # Examples
    ///
    /// ```
    /// use pointsman::proxy::HttpOptions;
    ///
    /// let options = HttpOptions::new().upgrade("tcp"); // as container engines attach
    /// # drop(options);
    /// ```
    #[must_use]
    pub fn upgrade(mut self, name: impl Into<Box<str>>) -> Self {
        self.upgrades.push(name.into());
        self
    }

    /// Tells whether clients may change to this protocol.
    pub(super) fn may_upgrade(&self, name: &[u8]) -> bool {
        let is = |may: &str| may.as_bytes().eq_ignore_ascii_case(name);
        is("websocket") || self.upgrades.iter().any(|may| is(may))
    }
}
