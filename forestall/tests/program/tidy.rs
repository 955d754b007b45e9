//! What can be counted about the house is kept by counting it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a source file; longer ones are two things.
const LINES_MAX: usize = 700;
/// What a room without IO and clock has no use for.
const OUTSIDE: [&str; 9] = [
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "tokio",
    "thread::sleep",
];
/// Rooms without IO and clock, and all that they may depend on.
const PURE: [(&str, &[&str]); 2] = [
    ("control", &["record", "serde", "thiserror"]),
    ("wire", &["serde", "thiserror"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn toml(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The rooms: name and `Cargo.toml` of each.
fn rooms() -> Vec<(String, toml::Table)> {
    let workspace = toml(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let room = |name: &toml::Value| {
        let name = name.as_str().unwrap().to_owned();
        let manifest = toml(&root().join(&name).join("Cargo.toml"));
        (name, manifest)
    };
    members.iter().map(room).collect()
}

/// Names under one kind of dependencies.
fn dependencies(manifest: &toml::Table, kind: &str) -> Vec<String> {
    let table = manifest.get(kind).and_then(toml::Value::as_table);
    table.map_or_else(Vec::new, |table| table.keys().cloned().collect())
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

fn sources(room: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root().join(room).join("src"), "rs", &mut found);
    assert!(!found.is_empty(), "{room} has no sources");
    found
}

/// Lines of code that speak to the outside; comments may.
fn outside(text: &str) -> Vec<&str> {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines()
        .filter(code)
        .filter(|line| OUTSIDE.iter().any(|word| line.contains(word)))
        .collect()
}

#[test]
fn pure_rooms_have_no_io_and_no_clock() {
    for (room, allowed) in PURE {
        for path in sources(room) {
            let text = fs::read_to_string(&path).unwrap();
            let found = outside(&text);
            assert!(found.is_empty(), "{}: {found:?}", path.display());
        }
        let manifest = toml(&root().join(room).join("Cargo.toml"));
        for name in dependencies(&manifest, "dependencies") {
            assert!(allowed.contains(&name.as_str()), "{room} depends on {name}");
        }
        assert!(dependencies(&manifest, "build-dependencies").is_empty());
    }
    // The checker is checked.
    assert_eq!(outside("// std::fs\nlet now = Timestamp::now();").len(), 1);
}

#[test]
fn nothing_but_the_command_line_depends_on_the_lab() {
    for (room, manifest) in rooms().iter().filter(|(room, _)| room != "forestall") {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = dependencies(manifest, kind);
            assert!(!names.iter().any(|name| name == "lab"), "{room}: {kind}");
        }
    }
}

#[test]
fn every_room_has_the_house_rules() {
    for (room, manifest) in rooms() {
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        assert_eq!(inherits, Some(true), "{room}/Cargo.toml: [lints]");
    }
}

#[test]
fn no_file_is_two_things() {
    for (room, _) in rooms() {
        for path in sources(&room) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            let what = path.display();
            assert!(lines <= LINES_MAX, "{what} has {lines} lines");
        }
    }
}

#[test]
fn every_scenario_can_be_read() {
    let all = root().join("scenarios");
    let golden = all.join("golden");
    let thesis = all.join("thesis");
    let entries = |folder: &Path| {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let mut paths: Vec<PathBuf> = entries(&all)
        .filter(|path| *path != golden && *path != thesis)
        .collect();
    paths.extend(entries(&golden));
    let named = |path: &Path, name: &str| {
        let what = path.display();
        let folder = path.file_name().and_then(|name| name.to_str());
        assert_eq!(Some(name), folder, "{what}");
        let readme =
            fs::read_to_string(path.join("README.md")).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(
            readme.starts_with(&format!("# {name}\n\n")),
            "{what}/README.md: title"
        );
    };
    for path in paths {
        let what = path.display();
        let scenario = scenario::Scenario::read(&path).unwrap_or_else(|e| panic!("{what}: {e}"));
        named(&path, &scenario.name);
    }
    let campaign = scenario::Campaign::read(&thesis).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(campaign.name, "thesis");
    for path in entries(&thesis).filter(|path| path.is_dir()) {
        let what = path.display();
        let placement = scenario::Placement::read(&path).unwrap_or_else(|e| panic!("{what}: {e}"));
        named(&path, &placement.name);
    }
}

fn forestall(words: &[&str]) -> std::process::Output {
    let program = env!("CARGO_BIN_EXE_forestall");
    Command::new(program).args(words).output().unwrap()
}

#[test]
fn a_simulation_and_the_replay_of_its_record() {
    let scenario = scenario::Scenario::read(&root().join("scenarios/reallocation")).unwrap();
    let profile = &scenario.profiles["fast"];
    let run = sim::run(&scenario, scenario::PolicyName::Deadline, profile, 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let decisions = folder.path().join("decisions.jsonl");
    fs::write(folder.path().join("inputs.jsonl"), run.input_log().unwrap()).unwrap();
    let log = run.decision_log().unwrap();
    let check = |log: &str, code, expected: &str| {
        fs::write(&decisions, log).unwrap();
        let output = forestall(&["sim", "replay", folder.path().to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    let count = run.decisions.len();
    check(&log, 0, &format!("{count} decisions, equal"));
    check(&log.replace("\"start\"", "\"begin\""), 1, "differs");
    let (shorter, _) = log.trim_end().rsplit_once('\n').unwrap();
    check(
        &format!("{shorter}\n"),
        1,
        &format!("decision {count} differs"),
    );
    assert_eq!(
        forestall(&["sim", "replay", "/no/such"]).status.code(),
        Some(2)
    );
}
