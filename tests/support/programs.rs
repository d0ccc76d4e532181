//! Servers and clients of other people, each a process that ends with the test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpSocket, TcpStream},
    process::{Child, Command},
    time::timeout,
};

use super::soon;

/// How long it may take to install a program; far above what it takes.
const INSTALLATION: Duration = Duration::from_secs(120);

/// Finds a program, also where Debian keeps servers. Without it the test is over: skipped, unless
/// this is CI, where all programs must be there.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).collect::<Vec<_>>();
    places.extend(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.into_iter().map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skipped(&format!("{name} is not installed"));
    }
    found
}

/// Says why a test is over that has not begun.
fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}, which CI must have");
    println!("skipped: {why}");
}

/// A port that nobody else gets, for a program that cannot choose one itself.
///
/// A socket that is bound and does not listen keeps the port from all who want any; a program that
/// asks for this very one may still have it, since both set SO_REUSEADDR.
pub struct Port {
    pub address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self { address: socket.local_addr().unwrap(), _held: socket }
    }
}

/// A directory that goes with the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that is a process; dropping it kills it.
pub struct Process {
    child: Child,
    _directory: Option<Directory>,
}

impl Process {
    /// Kills it as nothing can be done against, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// An nginx with these `server` blocks and more of its `http` block, in which `{dir}` is a
/// directory with these files; up when all of `ports` are listened on.
pub async fn nginx(http: &str, ports: &[&Port], files: &[(&str, &[u8])]) -> Option<Process> {
    let program = find("nginx")?;
    let directory = Directory::new();
    for (name, bytes) in files {
        directory.write(name, bytes);
    }
    // One process, so that killing it kills all of it.
    let config = format!(
        "daemon off; master_process off; pid {{dir}}/pid; error_log stderr;
         events {{}}
         http {{
             access_log off;
             client_body_temp_path {{dir}}; proxy_temp_path {{dir}}; fastcgi_temp_path {{dir}};
             uwsgi_temp_path {{dir}}; scgi_temp_path {{dir}};
             {http}
         }}"
    );
    let here = directory.0.to_str().unwrap();
    let config = directory.write("nginx.conf", config.replace("{dir}", here));
    let mut command = Command::new(program);
    command.arg("-p").arg(here).arg("-c").arg(config).args(["-e", "stderr"]);
    let mut child = command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    for port in ports {
        listens(&mut child, port).await;
    }
    Some(Process { child, _directory: Some(directory) })
}

/// Waits until a program listens.
async fn listens(child: &mut Child, port: &Port) {
    soon("a program listens", async {
        while TcpStream::connect(port.address).await.is_err() {
            assert_eq!(child.try_wait().unwrap(), None, "it ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A Python program that prints the port it listens on, and then serves.
pub async fn python(script: &str, arguments: &[&str]) -> Option<(Process, SocketAddr)> {
    find("python3")?;
    let mut command = Command::new(interpreter().await);
    command.arg("-c").arg(script).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = soon("python's port", lines.next_line()).await.unwrap().expect("python ended");
    let address = ([127, 0, 0, 1], port.parse().unwrap()).into();
    Some((Process { child, _directory: None }, address))
}

/// A Flask app, called `app`, under gunicorn with threads, which keep connections.
///
/// Both are installed for this test alone, from PyPI or whatever pip is told to ask.
pub async fn flask(script: &str, port: &Port) -> Option<Process> {
    find("python3")?;
    let directory = Directory::new();
    directory.write("app.py", script);
    let packages = ["flask", "gunicorn"];
    let Some(python) = environment(&directory, &packages).await else {
        skipped(&format!("{} cannot be installed", packages.join(" and ")));
        return None;
    };
    let mut command = Command::new(python);
    command.args(["-m", "gunicorn", "--worker-class", "gthread", "--threads", "4"]);
    command.args(["--log-level", "warning", "--bind", &port.address.to_string(), "app:app"]);
    command.current_dir(&directory.0).stdin(Stdio::null()).kill_on_drop(true);
    // Its worker ends by itself, within a second, when it is killed.
    let mut child = command.spawn().unwrap();
    listens(&mut child, port).await;
    Some(Process { child, _directory: Some(directory) })
}

/// Makes a virtual environment with these packages; its interpreter.
async fn environment(directory: &Directory, packages: &[&str]) -> Option<PathBuf> {
    let place = directory.0.join("environment");
    let python = place.join("bin/python");
    let run = async |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(INSTALLATION, command.output()).await.ok()?.unwrap();
        if !output.status.success() {
            println!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success().then_some(())
    };
    run(Path::new(&interpreter().await), &["-m", "venv", place.to_str()?]).await?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    // Where there is no network, that should be known soon.
    let patience = ["--retries", "1", "--timeout", "5"];
    run(&python, &[&pip[..], &patience, packages].concat()).await?;
    Some(python)
}

/// The interpreter itself: what is found by name may be a script that starts it, and killing that
/// would not kill it.
async fn interpreter() -> String {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(asked.await.unwrap().stdout).unwrap().trim().to_owned()
}

/// What curl prints, with these arguments after `-sS`.
pub async fn curl(arguments: &[&str]) -> Option<String> {
    curl_reading(arguments, Stdio::null()).await
}

/// The same with something to read.
pub async fn curl_reading(arguments: &[&str], input: Stdio) -> Option<String> {
    let program = find("curl")?;
    Some(printed(&program, &[&["-sS"], arguments].concat(), input).await)
}

/// What a Python script prints.
pub async fn python_prints(script: &str, arguments: &[&str]) -> Option<String> {
    find("python3")?;
    let program = interpreter().await;
    Some(printed(Path::new(&program), &[&["-c", script], arguments].concat(), Stdio::null()).await)
}

/// What Node prints.
pub async fn node(arguments: &[&str]) -> Option<String> {
    let program = find("node")?;
    Some(printed(&program, arguments, Stdio::null()).await)
}

/// What a program prints until it ends well.
async fn printed(program: &Path, arguments: &[&str], input: Stdio) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(input).kill_on_drop(true);
    let output = soon("the end of a program", command.output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?} {arguments:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
