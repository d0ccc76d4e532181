//! stub
use crate::{
    body::Body,
    error::{Error, Kind},
    group::{TargetExplanation, TargetGroup},
    head::Head,
    id::{RuleId, TargetId},
};
use http::Response;
/// s
#[derive(Clone, Debug)]
pub struct RuleTable(Vec<TargetGroup>, std::sync::Arc<Action>);
/// s
#[derive(Debug, Clone)]
pub enum Action {
    /// s
    Forward(Forward),
    /// s
    Redirect(Redirect),
    /// s
    FixedResponse(FixedResponse),
}
/// s
#[derive(Debug, Clone)]
pub struct Forward(TargetGroup);
/// s
#[derive(Debug, Clone)]
pub struct Redirect;
/// s
#[derive(Debug, Clone)]
pub struct FixedResponse;
impl Redirect {
    /// s
    pub fn response(&self, _: &Head<'_>) -> Result<Response<Body>, Error> {
        Err(Kind::Other.into())
    }
}
impl FixedResponse {
    /// s
    pub fn response(&self) -> Response<Body> {
        Response::new(Body::default())
    }
}
/// s
#[derive(Debug)]
pub struct Match<'a>(&'a Action);
impl<'a> Match<'a> {
    /// s
    pub fn rule(&self) -> RuleId {
        RuleId::Default
    }
    /// s
    pub fn action(&self) -> &'a Action {
        self.0
    }
}
/// s
#[derive(Debug)]
pub struct Explanation(TargetExplanation);
impl Explanation {
    /// s
    pub fn target(&self) -> Option<&TargetId> {
        self.0.target()
    }
}
impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
impl RuleTable {
    /// s
    pub fn forward_to(g: &TargetGroup) -> Self {
        Self(vec![g.clone()], std::sync::Arc::new(Action::Forward(Forward(g.clone()))))
    }
    /// s
    pub fn groups(&self) -> &[TargetGroup] {
        &self.0
    }
    /// s
    pub fn first_match(&self, _: &Head<'_>) -> Result<Match<'_>, Error> {
        Ok(Match(&self.1))
    }
    /// s
    pub fn choose_group<'a>(&self, f: &'a Forward) -> &'a TargetGroup {
        &f.0
    }
    /// s
    pub fn explain(&self, h: &Head<'_>) -> Explanation {
        Explanation(self.0[0].explain(h))
    }
}
