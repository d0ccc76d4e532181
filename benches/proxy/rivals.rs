//! The proxies that people run, where they are installed: each as a child on one thread, by a
//! configuration as a user would write it.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    child::{Child, program},
    contestant::Contestant,
    cpu::Processor,
    support::settings::proxy as settings,
};

#[derive(Clone, Copy, PartialEq)]
pub enum Rival {
    Nginx,
    Haproxy,
}

impl Rival {
    pub const ALL: [Self; 2] = [Self::Nginx, Self::Haproxy];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// What it says of its version, if it is installed.
    pub fn version(self) -> Option<String> {
        let output = Command::new(program(self.name())?).arg("-v").output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&said).lines().next()?.to_owned())
    }

    /// Starts it, if it is installed, and waits until it listens; says why it does not.
    pub fn start(
        self,
        scratch: &Path,
        backends: [SocketAddr; 2],
        connections: usize,
    ) -> Result<Contestant, String> {
        let name = self.name();
        let program = program(name).ok_or_else(|| format!("{name} is not installed"))?;
        let directory = scratch.join(name);
        fs::create_dir_all(&directory).unwrap();
        // Nothing else here listens on the system's choice meanwhile.
        let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let file = self.configure(&directory, address, backends, connections);
        let said = directory.join("said");
        let mut command = Command::new(program);
        match self {
            Self::Nginx => command.args(["-e", "stderr", "-p"]).arg(&directory).arg("-c"),
            Self::Haproxy => command.args(["-db", "-f"]),
        };
        command.arg(file).stdin(Stdio::null());
        command.stdout(File::create(&said).unwrap());
        command.stderr(File::options().append(true).open(&said).unwrap());
        let child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        let mut child = Child(child);
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let has_ended = child.0.try_wait().unwrap().is_some();
            if has_ended || started.elapsed() > settings::PATIENCE {
                let said = fs::read_to_string(said).unwrap_or_default();
                return Err(format!("{name} does not listen: {}", said.trim()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        let processor = Processor::of_process(child.0.id());
        Ok(Contestant { name, address, is_sticky: false, processor, child: Some(child) })
    }

    fn configure(
        self,
        directory: &Path,
        address: SocketAddr,
        [one, two]: [SocketAddr; 2],
        connections: usize,
    ) -> PathBuf {
        let (template, file) = match self {
            Self::Nginx => (include_str!("nginx.conf"), "nginx.conf"),
            Self::Haproxy => (include_str!("haproxy.cfg"), "haproxy.cfg"),
        };
        // Both sides of each connection, the listener and what waits in pools.
        let connections_both = 2 * connections + 256;
        let configuration = template
            .replace("@address@", &address.to_string())
            .replace("@one@", &one.to_string())
            .replace("@two@", &two.to_string())
            .replace("@directory@", &directory.display().to_string())
            .replace("@connections@", &connections.to_string())
            .replace("@connections_both@", &connections_both.to_string())
            .replace("@keepalive@", &settings::NGINX_KEEPALIVE.to_string());
        let file = directory.join(file);
        fs::write(&file, configuration).unwrap();
        file
    }
}
