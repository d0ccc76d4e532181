//! A load balancer run from one document in ALB's own vocabulary.
//!
//! `gateway FILE [--bind ADDR] [--check] [--explain 'GET URL' [-H 'name: value']... [--from ADDR]]`
//!
//! SIGHUP reads the file again, SIGTERM and Ctrl-C let exchanges end; a second one ends at once. What
//! is logged on standard error is set by the environment variable `RUST_LOG`.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use http::Request;
use pointsman::{
    Peer,
    gateway::{Document, Gateway},
    stickiness::CookieKey,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const USAGE: &str = "usage: gateway FILE [--bind ADDR] [--check] \
                     [--explain 'GET URL' [-H 'name: value']... [--from ADDR]]";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

struct Arguments {
    file: PathBuf,
    bind: IpAddr,
    check: bool,
    explain: Option<String>,
    headers: Vec<String>,
    from: SocketAddr,
}

fn arguments() -> Result<Arguments, BoxError> {
    let (mut file, mut check, mut explain, mut headers) = (None, false, None, Vec::new());
    let mut bind = IpAddr::from([127, 0, 0, 1]);
    let mut from = SocketAddr::from(([127, 0, 0, 1], 50_000));
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--check" => check = true,
            "--bind" => bind = value()?.parse().map_err(|_| "--bind: expected an IP address")?,
            "--explain" => explain = Some(value()?),
            "-H" => headers.push(value()?),
            "--from" => {
                let text = value()?;
                let with_port = |_: std::net::AddrParseError| {
                    text.parse::<IpAddr>().map(|ip| SocketAddr::from((ip, 50_000)))
                };
                from = text
                    .parse()
                    .or_else(with_port)
                    .map_err(|_| "--from: expected an IP address, with a port or without")?;
            }
            other if other.starts_with('-') => {
                return Err(format!("unknown option {other}\n{USAGE}").into());
            }
            _ if file.is_some() => return Err(format!("one FILE only\n{USAGE}").into()),
            _ => file = Some(PathBuf::from(argument)),
        }
    }
    let file = file.ok_or(USAGE)?;
    Ok(Arguments { file, bind, check, explain, headers, from })
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(ansi);
    log.with_env_filter(filter).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let arguments = arguments()?;
    let document = read(&arguments.file)?;
    if arguments.check {
        for finding in document.warnings().iter().chain(document.lints()) {
            println!("warning: {finding}");
        }
        println!("{}: valid", arguments.file.display());
        return Ok(());
    }
    if let Some(asked) = &arguments.explain {
        print!("{}", explain(&document, asked, &arguments)?);
        return Ok(());
    }
    serve(document, &arguments).await
}

/// Reads and checks the file; the error has everything that is wrong, one line each that names it.
fn read(file: &Path) -> Result<Document, BoxError> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
    Document::parse(&text).map_err(|invalid| {
        let lines: Vec<_> = invalid.errors().iter().map(|error| named(error)).collect();
        lines.join("\n").into()
    })
}

async fn serve(document: Document, arguments: &Arguments) -> Result<(), BoxError> {
    // Heard from the start, so that none that comes early ends the program.
    let mut reload = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for warning in document.warnings() {
        tracing::warn!("{warning}");
    }
    let mut gateway = Gateway::start(&document, arguments.bind)?;
    let mut told = Vec::new();
    loop {
        for address in gateway.local_addrs() {
            if !told.contains(&address) {
                println!("listening on http://{address}");
                told.push(address);
            }
        }
        told.retain(|address| gateway.local_addrs().contains(address));
        tokio::select! {
            _ = reload.recv() => match read(&arguments.file).and_then(|document| {
                gateway.reload(&document)?;
                Ok(document)
            }) {
                Ok(document) => {
                    document.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
                    println!("reloaded {}", arguments.file.display());
                }
                Err(error) => eprintln!("{error}\nreload refused, everything stays as it was"),
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tokio::select! {
        cut = gateway.shutdown() => {
            if cut > 0 {
                eprintln!("{cut} connections were cut");
            }
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Says what the listener that the URL names would do with a request.
fn explain(document: &Document, asked: &str, arguments: &Arguments) -> Result<String, BoxError> {
    let expected = "--explain: expected a method and a URL, such as 'GET http://host/path'";
    let (method, url) = asked.split_once(' ').ok_or(expected)?;
    let uri: http::Uri = url.parse().map_err(|_| expected)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(expected.into());
    };
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let assembly = document.assemble(&CookieKey::generate()?, None)?;
    assembly.apply();
    let found = assembly.listeners().iter().find(|listener| listener.port() == port);
    let Some(listener) = found.filter(|_| scheme == "http") else {
        let listeners = document.ports().map(|port| format!("http on port {port}"));
        let listeners = listeners.collect::<Vec<_>>().join(", ");
        return Err(
            format!("no listener for {scheme} on port {port}: there are {listeners}").into()
        );
    };
    if !document.security_groups().admits(port, arguments.from.ip()).is_admitted() {
        let (ip, groups) = (arguments.from.ip(), document.security_groups());
        return Ok(format!("refused at connecting: none of {groups} admits {ip} to port {port}\n"));
    }
    let peer = Peer::new(arguments.from).local((arguments.bind, port).into());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method).uri(path).extension(peer);
    if !arguments.headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
        request = request.header("host", authority.as_str());
    }
    for header in &arguments.headers {
        let (name, value) = header.split_once(':').ok_or("-H: expected 'name: value'")?;
        request = request.header(name.trim(), value.trim());
    }
    let explanation = listener.balancer().explain(&request.body(())?);
    Ok(format!("{explanation}\nnothing was asked of the targets: their health is not known\n"))
}
