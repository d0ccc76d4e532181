//! The examples as programs, each built from the sources as they are.
//!
//! `cargo test` builds them beside the tests, but `cargo test --test <name>` does not, and would run
//! what was left there by an earlier build. So cargo is asked for each; mostly it has nothing to do.
#![allow(unreachable_pub, reason = "each test takes it into a place of its own")]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// Those of this build, of which another set would be another build.
const FEATURES: [(&str, bool); 4] = [
    ("default", cfg!(feature = "default")),
    ("sticky", cfg!(feature = "sticky")),
    ("server", cfg!(feature = "server")),
    ("gateway", cfg!(feature = "gateway")),
];

/// Returns the program of an example.
pub fn example(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    // This test is target/<profile>/deps/<name>, with the target's triple before the profile if one
    // was asked for.
    let test = std::env::current_exe().unwrap();
    let place = test.ancestors().nth(2).unwrap();
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(name) {
        build(name, place);
        built.insert(name);
    }
    place.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Builds an example as this test was built.
fn build(name: &str, place: &Path) {
    let (profile, above) = (place.file_name().unwrap(), place.parent().unwrap());
    let triple = above.file_name().and_then(OsStr::to_str);
    let triple = triple.filter(|name| name.starts_with(&format!("{}-", std::env::consts::ARCH)));
    let target = if triple.is_some() { above.parent().unwrap() } else { above };
    let features = FEATURES.iter().filter(|(_, on)| *on).map(|(feature, _)| *feature);
    let features = features.collect::<Vec<_>>().join(",");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Whatever it needs was needed for the test.
    cargo.args(["build", "--offline", "--no-default-features", "--features", &features]);
    cargo.args(["--example", name]).arg("--target-dir").arg(target);
    cargo.arg("--profile").arg(if profile == "debug" { OsStr::new("dev") } else { profile });
    if let Some(triple) = triple {
        cargo.args(["--target", triple]);
    }
    let output = cargo.output().unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{cargo:?}: {said}");
}
