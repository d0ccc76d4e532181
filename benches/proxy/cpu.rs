//! How long threads have run, as the kernel's scheduler counts it, to the nanosecond. Linux only.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The threads whose time counts.
pub struct Processor {
    schedstats: Vec<PathBuf>,
}

impl Processor {
    /// Tells whether this kernel counts.
    pub fn is_counted() -> bool {
        Path::new("/proc/thread-self/schedstat").exists()
    }

    /// The thread this is called on.
    pub fn of_this_thread() -> Self {
        let thread = fs::read_link("/proc/thread-self").unwrap();
        Self { schedstats: vec![Path::new("/proc").join(thread).join("schedstat")] }
    }

    /// All threads that a process has by now.
    pub fn of_process(id: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
        Self {
            schedstats: threads.map(|thread| thread.unwrap().path().join("schedstat")).collect(),
        }
    }

    /// How long they have run, in user space and in the kernel.
    pub fn time(&self) -> Duration {
        let time_of = |schedstat| {
            let figures = fs::read_to_string(schedstat).unwrap();
            let nanoseconds = figures.split_whitespace().next().unwrap();
            Duration::from_nanos(nanoseconds.parse().unwrap())
        };
        self.schedstats.iter().map(time_of).sum()
    }
}
