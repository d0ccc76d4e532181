//! Counts allocations: calls of the allocator for new or more memory, on the thread that measures.

use std::alloc::System;

use alloc_tracker::{Allocator, Session};

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// Counts what one of `times` repetitions allocates, on this thread alone.
///
/// To a tenth: a buffer that grows now and then is no part of each.
pub(crate) fn allocations_of(times: u64, work: impl FnOnce()) -> f64 {
    let session = Session::new();
    let operation = session.operation("");
    let span = operation.measure_thread();
    work();
    drop(span);
    let report = session.to_report();
    let counted = report.operations().map(|(_, counts)| counts.total_allocations_count());
    let counted = counted.sum::<u64>();
    (counted as f64 / times as f64 * 10.0).round() / 10.0
}
