//! A gateway: ALB's own documents, run here.
//!
//! A [`Document`] is JSON in the vocabulary of AWS's ELBv2 API: what CreateTargetGroup,
//! CreateListener, CreateRule and the calls that modify attributes take, in one file. It is read and
//! checked as a whole, with every error at once; an [`Assembly`] is target groups and tables of rules
//! made of it, which a later document takes over where they stay the same; a [`Gateway`] runs them.
//! Files and signals are the program's affair.
//!
//! In this mode the balancer behaves as ALB does where the library does not: the cookies AWSALB and
//! AWSALBCORS, pages of HTML for errors and redirects, ALB's defaults, and its ranges, limits and
//! characters as errors. It does not claim to be ALB: there is no Server field.
//!
//! What is known but cannot be had here is refused, when to ignore it would change who may connect,
//! what is encrypted, or which answer is given; otherwise it is accepted with one
//! [warning](Document::warnings). A value that is ALB's default is as if it was not given. Numbers
//! may be written as texts too. A target group is called by its `TargetGroupName` (or `Name`) or by
//! its `TargetGroupArn`; a target without `Port` takes its group's.
//!
//! # Examples
//!
//! ```
//! use http::Request;
//! use pointsman::{gateway::Document, stickiness::CookieKey};
//!
//! let document = Document::parse(r#"{
//!     "TargetGroups": [{
//!         "TargetGroupName": "web", "Protocol": "HTTP", "Port": 3000, "TargetType": "ip",
//!         "TargetGroupAttributes": [{"Key": "stickiness.enabled", "Value": "true"}],
//!         "Targets": [{"Id": "127.0.0.1", "Port": 3001}, {"Id": "127.0.0.1", "Port": 3002}]
//!     }],
//!     "Listeners": [{
//!         "Protocol": "HTTP", "Port": 8080,
//!         "DefaultActions": [{"Type": "forward", "TargetGroupArn": "web"}],
//!         "Rules": [{
//!             "Priority": "10",
//!             "Conditions": [{"Field": "path-pattern", "Values": ["/admin*"]}],
//!             "Actions": [{
//!                 "Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "403"}
//!             }]
//!         }]
//!     }]
//! }"#)?;
//! let assembly = document.assemble(&CookieKey::generate()?, None)?;
//! let balancer = assembly.listeners()[0].balancer();
//! let explained = balancer.explain(&Request::get("/admin/").body(())?);
//! assert_eq!(explained.action().unwrap().to_string(), "fixed-response 403");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
#![doc = include_str!("from_alb.md")]

mod run;
mod assembly;
mod document;
mod lint;
mod listener;
mod rule;
mod action;
mod condition;
mod group;
mod security_group;
mod attributes;
mod plan;
mod answer;

mod fields;
mod reader;
mod nearest;
mod report;
mod json;

#[cfg(test)]
mod tests;

pub use self::{
    answer::on_error,
    assembly::{Assembly, Listener},
    document::Document,
    report::{Finding, InvalidDocument},
    run::{Gateway, StartError},
    security_group::{Admission, SecurityGroups},
};
