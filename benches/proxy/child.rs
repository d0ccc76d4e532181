//! Programs that run beside the bench, and a directory for what they write: both are gone when the
//! bench drops them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use crate::support::wire;

/// Where distributions put servers, which is not on everybody's path.
const SERVERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Finds an installed program.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SERVERS.map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// A running child, killed when it is dropped.
pub struct Child(pub process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that is removed when it is dropped, or when the bench is interrupted; children are
/// interrupted too then, by the terminal.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn make() -> Self {
        let directory = env::temp_dir().join(format!("pointsman-bench-{}", process::id()));
        fs::create_dir(&directory).unwrap();
        let removed = directory.clone();
        wire::on_a_thread("interruption", async {
            tokio::signal::ctrl_c().await.unwrap();
            let _ = fs::remove_dir_all(removed);
            process::exit(1);
        });
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
