//! stub
use super::{Algorithm, Picker, RoundRobin, Weighted};
/// s
#[derive(Debug, Default)]
pub struct LeastOutstandingRequests(());
impl Algorithm for LeastOutstandingRequests {
    fn name(&self) -> &'static str {
        "lor"
    }
    fn prepare(&self, m: &[Weighted]) -> Box<dyn Picker> {
        RoundRobin::new().prepare(m)
    }
}
