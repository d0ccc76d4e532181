//! The checking of a group: who keeps it going, and how to wait for what it finds.
//!
//! A [`Use`] is held by whoever routes to a group. The task (`task.rs`) starts when a used group is
//! looked at within a runtime, and ends with the last use.

mod task;

use tokio::{runtime::Handle, time::Instant};

use crate::group::TargetGroup;

/// A use of a group; while one is held, the group is checked.
#[derive(Debug)]
pub(crate) struct Use(TargetGroup);

impl Use {
    pub(crate) fn of(group: TargetGroup) -> Self {
        group.uses().acquire();
        // Whoever waits for health sees it again from now on.
        group.look_again();
        Self(group)
    }

    /// Starts the group's task if none was heard of for two intervals. Without a runtime, nothing.
    pub(crate) fn ensure(&self, now: Instant) {
        let Some(settings) = self.0.check_settings() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        if let Some(id) = self.0.uses().claim(now, settings.patience()) {
            runtime.spawn(task::run(self.0.clone(), id));
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.uses().release();
        self.0.bell().notify_one();
    }
}

impl TargetGroup {
    /// Waits until at least `count` targets are healthy.
    ///
    /// Targets are checked while a balancer's rules use the group, so without one this waits for
    /// ever, unless the group has no health check.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use pointsman::{Target, TargetGroup};
    ///
    /// let web = TargetGroup::builder("web").build().unwrap();
    /// web.register(Target::new("127.0.0.1:3001".parse().unwrap()));
    /// web.until_healthy(1).await;
    /// # }
    /// ```
    pub async fn until_healthy(&self, count: usize) {
        let mut published = self.published();
        while self.status().healthy() < count && published.changed().await.is_ok() {}
    }
}
