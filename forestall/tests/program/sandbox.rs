//! The packaged unit in the sandbox that it asks for, started by a real systemd: all that an orchestrator does has to be possible
//! from within. Needs root and the packages that `make test` installs; it runs when `FORESTALL_LAB_TESTS` is set, as `make test` does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use crate::common::agents::COMMUNITY;
use crate::common::remote::{OURS, Ssh};
use crate::common::sandbox::Sandbox;
use crate::common::site::{FUNCTION, HOSTS, Site};
use control::Trust;
use serde_json::json;

/// Asks agents, keeps a journal, answers by its socket, and moves a domain by virsh and ssh, with the keys of its user.
#[test]
fn an_orchestrator_does_all_its_work_in_there() {
    if std::env::var_os("FORESTALL_LAB_TESTS").is_none() {
        println!("skipped: needs root and libvirt; `make test` installs it and runs this");
        return;
    }
    let machines = Ssh::new();
    let libvirts = Arc::clone(&machines.libvirts);
    let mut site = Site::of(Box::new(libvirts), HOSTS[0], Trust::Automatic);
    // As in `packaging/forestall.toml`.
    site.set_api("listen", json!("unix:/run/forestall/api.sock"));
    site.edit(|config| {
        config["journal"] = "/var/lib/forestall/journal.db".into();
        let community = json!({ "file": "/etc/forestall/community" });
        config["snmp"]["community"] = toml::Value::try_from(community).unwrap();
        let libvirt = toml::Value::try_from(machines.config_at_home());
        config["engine"]["libvirt"] = libvirt.unwrap();
    });
    let log = site.folder.path().join("log");
    let config = site.configuration();
    let sandbox = Sandbox::start(&config, COMMUNITY, &machines.client(OURS), &log);
    site.is_answered_at(sandbox.api());
    is_shut_in(&sandbox);

    site.wait_for("samples", |site| site.ask("status")["hosts_fresh"] == 2);
    site.words(&format!("move {FUNCTION} {}", HOSTS[1]));
    site.wait_for("the move", |site| site.where_is() == HOSTS[1]);
    assert_eq!(site.runners(), [HOSTS[1]]);
    assert!(machines.libvirts.hosts[1].executes());

    // Killed, it is back by itself, and remembers.
    assert_eq!(sandbox.property("NRestarts"), "0", "{}", site.log());
    sandbox.systemctl(&["kill", "--signal", "KILL"]);
    site.wait_for("its return", |site| {
        sandbox.property("NRestarts") == "1" && site.say("status").status.success()
    });
    assert_eq!(site.ask("moves")[0]["verdict"], "moved");
    sandbox.systemctl(&["stop"]);
    assert_eq!(sandbox.property("Result"), "success", "{}", site.log());
    assert_eq!(sandbox.property("ActiveState"), "inactive");
}

/// The checker is checked: systemd only warns of what it cannot do, and starts a unit without it.
fn is_shut_in(sandbox: &Sandbox) {
    let main = sandbox.property("MainPID");
    let status = fs::read_to_string(sandbox.file(&format!("/proc/{main}/status"))).unwrap();
    for line in [
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapBnd:\t0000000000000000",
        "CapEff:\t0000000000000000",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let state = fs::metadata(sandbox.file("/var/lib/forestall")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
    // Its view of the machine, looked at with all rights.
    for (folder, may_be_written) in [
        ("/etc/forestall", false),
        ("/usr/bin", false),
        ("/sys/kernel", false),
        ("/var/lib/forestall", true),
        ("/run/forestall", true),
    ] {
        let words = [
            "nsenter", "--target", &main, "--mount", "test", "-w", folder,
        ];
        let status = sandbox.program(&words).status().unwrap();
        assert_eq!(status.success(), may_be_written, "{folder}");
    }
}
