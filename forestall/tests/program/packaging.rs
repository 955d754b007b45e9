//! What is shipped beside the program speaks of the program that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::forestall;

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn says(arguments: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = forestall(arguments).output().unwrap();
    let error = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{arguments}: {error}");
    String::from_utf8(stdout).unwrap()
}

/// The commands under a command, as its help lists them.
fn under(command: &str) -> Vec<String> {
    let help = says(&format!("{command} --help"));
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| !line.is_empty())
        // A long description goes on further to the right.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(|name| format!("{command} {name}").trim_start().to_owned())
        .collect()
}

/// Every command, `lab` and `lab run` alike.
fn commands() -> Vec<String> {
    let mut found = under("");
    let mut next = 0;
    while let Some(command) = found.get(next) {
        found.extend(under(command));
        next += 1;
    }
    for known in ["orchestrate", "lab run", "sim compare", "completions"] {
        assert!(found.iter().any(|name| name == known), "{known}: {found:?}");
    }
    found
}

#[test]
fn the_unit_starts_a_command_that_is_there() {
    let unit = shipped("systemd/forestall-orchestrator.service");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/usr/bin/forestall "))
        .expect("ExecStart");
    // With a configuration that is not there it complains of that, not of its command line.
    let output = forestall(&start.replace("/etc", "/no/such/etc"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("cannot read the configuration /no/such/etc/forestall/forestall.toml"),
        "{said}"
    );
    // The code for a wrong configuration, which must not be tried again.
    assert_eq!(output.status.code(), Some(2));
    assert!(unit.contains("\nRestartPreventExitStatus=2\n"));
}

#[test]
fn the_example_fits_the_unit_and_the_commands() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/forestall.toml");
    let config = orchestrator::Config::read(Path::new(path)).unwrap();
    let unit = shipped("systemd/forestall-orchestrator.service");
    for directive in ["User", "StateDirectory", "RuntimeDirectory"] {
        assert!(unit.contains(&format!("\n{directive}=forestall\n")));
    }
    assert!(shipped("systemd/forestall.sysusers").contains("\nu forestall "));
    assert!(config.journal.starts_with("/var/lib/forestall"));
    let api = config.api.unwrap();
    let listen = api.listen.iter().next().unwrap().to_string();
    assert!(listen.starts_with("unix:/run/forestall/"));
    assert!(
        says("status --help").contains(&listen),
        "commands look elsewhere"
    );
    assert_eq!(
        config.control.trust,
        control::Trust::Observe,
        "an example moves nothing"
    );
}

/// `systemd-analyze`'s figure of what is left open to the unit: 0 to 100. Of what is left it needs the network, unix sockets and the
/// machine's files to read. Versions of systemd weigh a little differently.
const EXPOSURE_MAX: &str = "--threshold=20";

/// Whether systemd is content with a unit, and what it says.
fn analyze(unit: &str, words: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forestall-orchestrator.service");
    fs::write(&path, unit).unwrap();
    let output = Command::new("systemd-analyze")
        .args(words)
        .arg(path)
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("systemd-analyze is not installed: scripts/setup.sh --tests");
    let said = [stdout, stderr].concat();
    (status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn systemd_knows_what_the_unit_says_and_finds_it_shut_in() {
    let unit = shipped("systemd/forestall-orchestrator.service");
    // Where it is installed.
    let unit = unit.replace("/usr/bin/forestall", env!("CARGO_BIN_EXE_forestall"));
    let verify = ["verify", "--man=no"];
    let security = ["security", "--offline=true", "--no-pager", EXPOSURE_MAX];
    // It says something of other units of the machine, too.
    let complaints = |said: &str| said.matches("forestall-orchestrator").count();
    let (is_good, said) = analyze(&unit, &verify);
    assert!(is_good && complaints(&said) == 0, "{said}");
    let (is_good, said) = analyze(&unit, &security);
    assert!(is_good, "{said}");
    // The checker is checked.
    let (_, said) = analyze(&unit.replace("ProtectClock", "ProtectClok"), &verify);
    assert!(
        said.contains("ProtectClok") && complaints(&said) > 0,
        "{said}"
    );
    let open = unit.replace("\nProtect", "\n#Protect");
    assert!(!analyze(&open, &security).0);
}

/// The unit takes the right away to go beyond the kernel's limits.
#[test]
fn the_kernel_is_told_to_give_the_room_that_is_asked_for() {
    use orchestrator::agent::{RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES};
    assert!(
        shipped("systemd/forestall-orchestrator.service").contains("\nCapabilityBoundingSet=\n")
    );
    let limits = shipped("sysctl/forestall.conf");
    for (name, bytes) in [("rmem", RECEIVE_BUFFER_BYTES), ("wmem", SEND_BUFFER_BYTES)] {
        assert!(limits.contains(&format!("\nnet.core.{name}_max = {bytes}\n")));
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let text = says(&format!("completions {shell}"));
        let words: BTreeSet<&str> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .collect();
        for command in commands() {
            let name = command.rsplit(' ').next().unwrap();
            assert!(words.contains(name), "{shell}: {command}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("man1");
    says(&format!("man {}", path.display()));
    let pages: BTreeSet<String> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let page = |command: &String| format!("forestall-{}.1", command.replace(' ', "-"));
    let mut expected: BTreeSet<String> = commands().iter().map(page).collect();
    expected.insert("forestall.1".to_owned());
    assert_eq!(pages, expected);
    let page = fs::read_to_string(path.join("forestall-orchestrate.1")).unwrap();
    assert!(page.contains("Examples:"), "{page}");
}
