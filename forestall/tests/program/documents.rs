//! What the documents show fits the program: its commands, and its configuration.

use std::fs;
use std::path::Path;

use crate::common::forestall;
use orchestrator::Config;
use serde_json::Value;

const WALK_THROUGH: &str = "docs/walkthrough.md";
const HOSTS: &str = "docs/hosts.md";
/// Before a command that has to see what the service sees.
const AS_ITS_USER: &str = "runuser -u forestall -- ";

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Command lines of `forestall` in the code blocks of a page: the words that name a command, and its options.
fn commands(page: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            continue;
        }
        // Fenced, or indented.
        if !inside && !line.starts_with("    ") {
            continue;
        }
        let line = line.trim_start().trim_start_matches("$ ");
        let line = line.trim_start_matches(AS_ITS_USER);
        let mut words = line
            .split_whitespace()
            .skip_while(|word| *word == "sudo" || word.contains('='));
        let is_ours = words
            .next()
            .is_some_and(|program| program == "forestall" || program.ends_with("/forestall"));
        if !is_ours {
            continue;
        }
        // The words of a command are letters; its arguments are paths, addresses and options.
        let name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let words: Vec<String> = words
            .take_while(|word| !word.starts_with('#'))
            .map(str::to_owned)
            .collect();
        let command = words
            .iter()
            .take_while(|word| !word.starts_with('-') && name(&word.as_str()));
        let options = words.iter().filter(|word| word.starts_with("--"));
        let options = options.map(|word| word.split('=').next().unwrap_or(word).to_owned());
        found.push((command.cloned().collect(), options.collect()));
    }
    found
}

/// Whether the words are a command: one that is not makes the command line's parser say so before it says its help.
fn check_commands(page: &str) -> Result<usize, String> {
    let commands = commands(page);
    for (command, options) in &commands {
        let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
        words.push("--help");
        let output = forestall("").args(&words).output().unwrap();
        if output.status.code() != Some(0) {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("forestall {}: {error}", command.join(" ")));
        }
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let known = |option: &&String| {
            let mut words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
            words.any(|word| word == *option)
        };
        if let Some(option) = options.iter().find(|option| !known(option)) {
            return Err(format!("forestall {} has no {option}", command.join(" ")));
        }
    }
    Ok(commands.len())
}

#[test]
#[cfg(feature = "media")]
fn the_commands_of_the_readme_exist() {
    assert!(check_commands(&page("README.md")).unwrap() > 0);
}

#[test]
fn the_commands_of_the_walk_through_exist() {
    assert!(check_commands(&page(WALK_THROUGH)).unwrap() > 0);
}

#[test]
fn the_page_on_real_hosts_fits_the_program() {
    let page = page(HOSTS);
    assert!(check_commands(&page).unwrap() > 0);
    let (_, text) = page.split_once("```toml\n").unwrap();
    let (inventory, _) = text.split_once("```").unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/reallocation");
    let scenario = scenario::Scenario::read(&folder).unwrap();
    let scenario = scenario::LabScenario::new(scenario).unwrap();
    scenario::Inventory::parse(Path::new(HOSTS), inventory, &scenario).unwrap();
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let page = "forestall outside\n```sh\n$ forestall lab run scenarios/x\nA=1 ./forestall sim replay DIR\n```\n\n    forestall sim run x --log # y\n";
    assert_eq!(check_commands(page), Ok(3));
    for wrong in [
        "forestall juggle",
        "forestall lab juggle --fast",
        "forestall sim run x --fast",
    ] {
        assert!(
            check_commands(&format!("```\n{wrong}\n```\n")).is_err(),
            "{wrong}"
        );
    }
}

/// Pieces of a configuration in a page's code blocks: each begins with a table or a schema and ends with the block, or, where
/// that is only indented, with an empty line.
fn pieces(page: &str) -> Vec<toml::Table> {
    let mut texts = Vec::new();
    for (at, block) in page.split("```").enumerate() {
        match block.strip_prefix("toml\n") {
            Some(text) if at % 2 == 1 => texts.push(text.to_owned()),
            _ if at % 2 == 1 => {}
            _ => texts.extend(block.split("\n\n").map(|text| {
                let lines = text.lines().map(|line| line.strip_prefix("    "));
                lines
                    .collect::<Option<Vec<_>>>()
                    .unwrap_or_default()
                    .join("\n")
            })),
        }
    }
    let is_one = |text: &String| text.starts_with('[') || text.starts_with("schema");
    texts.retain(is_one);
    let read = |text: String| text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
    texts.into_iter().map(read).collect()
}

/// A configuration in which a piece has taken the place of what it says.
fn with(mut whole: toml::Table, piece: toml::Table) -> toml::Table {
    for (key, value) in piece {
        let value = match (whole.remove(&key), value) {
            // Of this one a part is shown; the others are whole.
            (Some(toml::Value::Table(mut old)), toml::Value::Table(new)) if key == "control" => {
                old.extend(new);
                toml::Value::Table(old)
            }
            (_, value) => value,
        };
        whole.insert(key, value);
    }
    whole
}

/// A renamed key, or a value that is none any more, is found here.
#[test]
fn what_is_shown_of_a_configuration_can_be_read() {
    let example: toml::Table = page("packaging/forestall.toml").parse().unwrap();
    for (name, count) in [("README.md", 6), (WALK_THROUGH, 5)] {
        let pieces = pieces(&page(name));
        assert!(pieces.len() >= count, "{name}: {}", pieces.len());
        for piece in pieces {
            let said = piece.to_string();
            let whole = with(example.clone(), piece).to_string();
            if let Err(error) = toml::from_str::<Config>(&whole) {
                panic!("{name}: {error}\n{said}");
            }
        }
    }
}

/// The configuration of the walk-through as its reader has it in a file.
fn of_the_walk_through() -> toml::Table {
    let mut pieces = pieces(&page(WALK_THROUGH));
    pieces.retain(|piece| piece.contains_key("schema"));
    let [whole] = &pieces[..] else {
        panic!("it has {} whole configurations", pieces.len());
    };
    whole.clone()
}

/// Reads a configuration from a file; what is wrong with it, if anything.
fn read(config: &toml::Table) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forestall.toml");
    fs::write(&path, config.to_string()).unwrap();
    Config::read(&path).map_err(|error| error.to_string())
}

#[test]
fn the_configuration_of_the_walk_through_is_whole_and_moves_nothing() {
    let config = read(&of_the_walk_through()).unwrap();
    assert_eq!(config.control.trust, control::Trust::Observe);
}

#[test]
fn a_host_that_libvirt_is_not_told_of() {
    let mut config = of_the_walk_through();
    let hosts = config["engine"]["libvirt"]["hosts"].as_table_mut().unwrap();
    hosts.remove("edge-b").unwrap();
    let error = read(&config).unwrap_err();
    assert!(
        error.contains("host edge-b") && error.contains("engine.libvirt.hosts"),
        "{error}"
    );
}

/// What the page of the video stages has to say of a run of `forestall bench media --json`, in its words.
fn lines_of_the_bench(run: &Value) -> Vec<String> {
    let figure = |path: String| {
        let value = run.pointer(&path).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no figure at {path}"))
    };
    let stages = ["capture", "overlay", "relay", "serve", "play"];
    let each = |of: &dyn Fn(&str) -> String| {
        let words = stages.map(|stage| format!("{stage} {}", figure(of(stage))));
        words.join(", ")
    };
    let mut lines = Vec::new();
    for (codec, name) in [("mpeg2", "MPEG-2"), ("h264", "H.264")] {
        for (chain, title) in [
            ("forestall", "Forestall"),
            ("ffmpeg_plain", "FFmpeg, plain"),
            ("ffmpeg_tuned", "FFmpeg, tuned"),
        ] {
            let of = |key: &str| figure(format!("/delay_ms/{codec}/{chain}/{key}"));
            lines.push(format!(
                "| {name} | {title} | {:.1} ms | {:.1} ms | {:.1} ms | {} | {} |",
                of("p50"),
                of("p95"),
                of("p99"),
                of("n"),
                of("lost")
            ));
        }
        let late = each(&|stage: &str| format!("/held_frames_by_codec/{codec}/{stage}/late"));
        lines.push(format!("late with {name}: {late}"));
    }
    for stage in stages {
        let of = |codec: &str, key: &str| figure(format!("/stage_ms/{codec}/{stage}/{key}"));
        lines.push(format!(
            "| {stage} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms |",
            of("mpeg2", "p50"),
            of("mpeg2", "p95"),
            of("h264", "p50"),
            of("h264", "p95")
        ));
    }
    lines.push(each(&|stage: &str| format!("/held_frames/{stage}")));
    for size in ["640x480", "1280x720"] {
        let of = |side: &str, key: &str| figure(format!("/overlay/{size}/{side}/{key}"));
        let [cpu, memory] =
            ["cpu_us_per_frame", "rss_mb"].map(|key| (of("forestall", key), of("ffmpeg", key)));
        lines.push(format!(
            "| {size} | {:.0} µs | {:.0} µs | {:.2} | {:.1} MB | {:.1} MB | {:.2} |",
            cpu.0,
            cpu.1,
            cpu.0 / cpu.1,
            memory.0,
            memory.1,
            memory.0 / memory.1
        ));
    }
    let at = |path: &str| figure(path.to_owned());
    lines.push(format!(
        "{:.2} ms (p50) and {:.2} ms (p99)",
        at("/relay_ms/p50"),
        at("/relay_ms/p99")
    ));
    lines.push(format!(
        "{:.0} viewers of 2 Mbit/s a core, measured with {} at once",
        at("/serve/viewers_per_core"),
        at("/serve/viewers")
    ));
    lines.push(format!(
        "{:.1} kB of memory for each",
        at("/serve/bytes_per_viewer") / 1e3
    ));
    lines.push(format!(
        "add {:.2} ms to the median delay of another",
        at("/serve/slow_viewer_adds_ms")
    ));
    lines.push(format!("{:.0} read a second", at("/clock/frames_per_s")));
    let spoilt = |key: &str| figure(format!("/clock/degraded/{key}"));
    lines.push(format!(
        "{} of {} readable ones are read, and {} wrongly",
        spoilt("readable_read"),
        spoilt("readable"),
        spoilt("wrong")
    ));
    for (name, path) in [
        ("clean", "/clock/tesseract"),
        ("blurred", "/clock/tesseract_spoilt/blurred"),
        ("noisy", "/clock/tesseract_spoilt/noisy"),
    ] {
        let of = |key: &str| figure(format!("{path}/{key}"));
        lines.push(format!(
            "{name} digits: {} of {} read, {} wrongly",
            of("read"),
            of("frames"),
            of("wrong")
        ));
    }
    lines
}

/// The figures of the page are those of the run that is kept beside it.
#[test]
fn the_page_of_the_video_stages_is_of_its_run() {
    let run: Value = serde_json::from_str(&page("docs/media.json")).unwrap();
    let page = page("docs/media.md");
    let words: Vec<&str> = page.split_whitespace().collect();
    let page = words.join(" ");
    let mut missing = lines_of_the_bench(&run);
    missing.retain(|line| !page.contains(line.as_str()));
    assert!(
        missing.is_empty(),
        "docs/media.md does not say:\n{}",
        missing.join("\n")
    );
}
