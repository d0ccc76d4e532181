//! stub
use super::{Algorithm, Pick, Picker, Weighted};
/// s
#[derive(Debug, Default)]
pub struct RoundRobin(());
impl RoundRobin {
    /// s
    pub fn new() -> Self {
        Self(())
    }
}
struct P(usize);
impl Algorithm for RoundRobin {
    fn name(&self) -> &'static str {
        "round_robin"
    }
    fn prepare(&self, m: &[Weighted]) -> Box<dyn Picker> {
        Box::new(P(m.len()))
    }
}
impl Picker for P {
    fn pick(&self, pick: &mut Pick<'_>) -> Option<usize> {
        let t = pick.turn() as usize;
        (0..self.0).map(|i| (t + i) % self.0).find(|&i| pick.may(i))
    }
}
