//! An orchestrator as an operator runs it: told and asked by the command line, killed, started again. Real QEMU processes.

use std::process::Stdio;

use crate::common::forestall;
use crate::common::site::{FAST, FUNCTION, HOSTS, SLOW, Site};
use control::Trust;

#[test]
fn a_person_moves_a_function_and_is_told_why() {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Observe);
    site.start_and_hear();
    assert!(
        site.words("hosts").contains("by the forecast"),
        "{}",
        site.words("hosts")
    );
    let began = site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    assert!(began.contains("move 1 of text-insertion"), "{began}");
    site.wait_for("the move", |site| site.where_is() == HOSTS[1]);
    assert_eq!(site.runners(), [HOSTS[1]]);
    let moved = &site.ask("moves")[0];
    assert_eq!(moved["verdict"], "moved", "{moved}");
    assert_eq!(moved["cause"], "order");
    assert!(moved["took_ms"].as_f64().unwrap() > 0.0);
    let why = site.words("why 1");
    for words in [
        "since a person asked for it",
        "look where it is",
        "moved: it runs at the target",
    ] {
        assert!(why.contains(words), "{words:?} in {why}");
    }
    // The function itself is explained, not its host alone.
    let why = site.words(&format!("why {FUNCTION}"));
    for words in [
        "text-insertion is on edge-user.",
        "What was decided of it, newest first:",
        "moved: it runs at the target",
        "nothing leaves edge-user: ",
    ] {
        assert!(why.contains(words), "{words:?} in {why}");
    }
    // What was learned of it is known after a restart, and numbers go on.
    site.kill();
    site.start_and_hear();
    assert_eq!(site.where_is(), HOSTS[1]);
    let learned = &site.ask("functions")[0]["learned"];
    assert_eq!(learned["migrations_ms"].as_array().unwrap().len(), 1);
    assert!(learned["last_at_us"].is_u64(), "{learned}");
    assert!(
        site.words("functions")
            .contains("(moves seen: 1, the last ")
    );
    let log = site.log();
    assert!(
        log.contains("a move of text-insertion is expected to take "),
        "{log}"
    );
    let began = site.words(&format!("move {FUNCTION} {}", HOSTS[0]));
    assert!(began.contains("move 2 of"), "{began}");
    site.wait_for("the way back", |site| site.where_is() == HOSTS[0]);
}

#[test]
fn killed_in_the_middle_of_a_move_it_looks_before_it_does_anything() {
    let mut site = Site::new(HOSTS[0], SLOW, Trust::Automatic);
    site.start_and_hear();
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("copying", |site| {
        site.ask("status")["moves"][0]["stage"] == "copying"
    });
    site.kill();
    site.start();
    site.wait_for("a verdict", |site| {
        site.ask("moves")[0]["verdict"].is_string()
    });
    let why = site.ask("why 1");
    let kinds: Vec<&str> = why["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["start", "inspect"], "{kinds:?}");
    let runners = site.runners();
    assert_eq!(runners.len(), 1, "{runners:?} {}", site.log());
    assert_eq!(site.where_is(), runners[0]);
}

#[test]
fn how_far_a_copy_is_can_be_seen() {
    let mut site = Site::new(HOSTS[0], SLOW, Trust::Observe);
    site.start_and_hear();
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("figures of the copy", |site| {
        let open = &site.ask("moves")[0];
        assert!(open["verdict"].is_null(), "it is over: {open}");
        let copied = open["progress"]["copied_bytes"].as_u64();
        copied.is_some_and(|copied| copied > 0)
    });
    let of_function = format!("why {FUNCTION}");
    for asked in ["moves", "status", "why 1", of_function.as_str()] {
        let said = site.words(asked);
        assert!(said.contains(" MiB sent of "), "{asked}: {said}");
    }
}

#[test]
fn what_a_person_wants_outlives_the_process() {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Automatic);
    site.start();
    site.words("disarm");
    site.words(&format!("drain {}", HOSTS[0]));
    site.kill();
    site.start_and_hear();
    assert_eq!(site.ask("status")["armed"], false);
    site.wait_for("a target", |site| {
        site.words(&format!("why {}", HOSTS[0]))
            .contains("disarmed")
    });
    let refusal = site.refusal(&format!("move {FUNCTION} {}", HOSTS[1]));
    assert!(refusal.contains("disarmed"), "{refusal}");
    assert_eq!(site.runners(), [HOSTS[0]]);
    site.words("arm");
    site.wait_for("the drain", |site| site.where_is() == HOSTS[1]);
    assert_eq!(site.ask("moves")[0]["cause"], "drain");
}

#[test]
fn two_orchestrators_do_not_move_the_same_functions() {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Observe);
    site.start();
    let second = site.another().stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another orchestrator"), "{said}");
    assert!(site.ask("status")["functions"] == 1, "the first goes on");
}

#[test]
fn what_others_did_is_noticed() {
    // The configuration says that it runs at the first host.
    let mut site = Site::new(HOSTS[1], FAST, Trust::Automatic);
    site.start();
    site.wait_for("a look", |site| site.where_is() == HOSTS[1]);
    assert_eq!(site.ask("functions")[0]["seen"]["residency"], "running");
    assert_eq!(site.runners(), [HOSTS[1]]);
    site.crash(HOSTS[1]);
    site.wait_for("another look", |site| {
        site.ask("functions")[0]["seen"]["residency"] == "absent"
    });
    assert!(site.log().contains("is Absent where it should run"));
    // Nobody moves it here: it is an alarm all the same, once it was seen twice.
    site.wait_for("the alarm", |site| {
        site.log().contains("ALARM: Lost of text-insertion")
    });
    let refusal = site.refusal(&format!("move {FUNCTION} {}", HOSTS[0]));
    assert!(
        refusal.contains("stays until it is seen to run on one host alone: no host says"),
        "{refusal}"
    );
    let why = site.words(&format!("why {FUNCTION}"));
    assert!(
        why.contains("Nothing moves it until it is seen to run"),
        "{why}"
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Recommend);
    site.start();
    for (words, reason) in [
        ("why nobody", "no function, no host"),
        ("why 99", "there is no move 99"),
        ("drain nowhere", "there is no host nowhere"),
        ("approve text-insertion", "no move of text-insertion waits"),
        ("move text-insertion edge-robot", "it is there already"),
        ("move text-insertion nowhere", "there is no host nowhere"),
        ("release nobody", "there is no function nobody"),
    ] {
        let refusal = site.refusal(words);
        assert!(refusal.contains(reason), "{words}: {refusal}");
    }
    site.kill();
    let nobody = site.say("status");
    assert_eq!(nobody.status.code(), Some(3));
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(
        said.contains("Is `forestall orchestrate` running"),
        "{said}"
    );
}

/// As `forestall why edge-a | head -1` does.
#[test]
fn who_reads_an_answer_may_have_enough_of_it() {
    let mut site = Site::new(HOSTS[0], FAST, Trust::Observe);
    site.start();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut status = forestall("status");
    let status = status.env("FORESTALL_API", site.api()).stdout(writer);
    let ended = status.stderr(Stdio::piped()).spawn().unwrap();
    let ended = ended.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_configuration_is_checked_before_it_is_used() {
    let site = Site::new(HOSTS[0], FAST, Trust::Observe);
    let (good, said) = site.check();
    assert!(good, "{said}");
    for words in [
        "good   load of edge-robot: it is",
        "good   function text-insertion: it runs on edge-robot",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    site.crash(HOSTS[0]);
    site.stop_agents();
    let (good, said) = site.check();
    assert!(!good);
    for words in [
        "WRONG  load of edge-user:",
        "WRONG  function text-insertion: it runs on none of the hosts",
        "3 of 4 are not as they have to be",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!site.journal().exists(), "nothing is opened for it");
}
