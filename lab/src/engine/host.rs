//! A libvirtd as the lab has it on an edge server, and what that starts as QEMU.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use record::HostName;

use super::libvirtd::{BESIDE, Libvirtd};
use crate::cgroup::Cgroups;
use crate::error::{LabError, file, unless_interrupted};
use crate::network::netns;
use crate::process::{Place, Process, run, tail};
use crate::vm::{Machine, shell_quoted};

/// libvirt's own port.
const PORT: u16 = 16_509;
/// Ports at which guests come in; each edge server has an address of its own.
const INCOMING: (u16, u16) = (49_152, 49_215);
/// A libvirtd looks at QEMU before it answers for the first time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// A question is answered within this.
const ANSWER_S: &str = "10";
/// A domain whose QEMU was killed is forgotten within this.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(10);
/// Folder with what a libvirtd finds of the machine, in the `/run` that it has for itself: a path that is the same on all hosts.
const OF_MACHINE: &str = "machine";
/// What is started there as QEMU. Who looks for QEMU by its name finds this, when that folder is first on its path.
pub(super) const EMULATOR: &str = "machine/qemu-system-x86_64";

/// A libvirtd of an edge server.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) libvirtd: Libvirtd,
    /// Ended with it.
    process: Process,
}

impl Host {
    /// Starts it, with files for the machine by their names in its `/run`. QEMU is told `more` than libvirt knows; the script
    /// `beside` is run in the libvirtd's namespaces before it.
    pub(super) fn start(
        machine: &Machine,
        name: &HostName,
        (groups, more): (&Cgroups, &[String]),
        files: &[(&str, String)],
        beside: Option<&str>,
    ) -> Result<Self, LabError> {
        let address = machine.management(name).unwrap_or(Ipv4Addr::LOCALHOST);
        let libvirtd = Libvirtd {
            host: name.to_string(),
            folder: machine.state.join(format!("libvirt-{name}")),
            state: machine.state.clone(),
            number: machine.runner(name) as u16,
            listen: SocketAddrV4::new(address, PORT),
            incoming: INCOMING,
        };
        let argv = libvirtd.prepare()?;
        let of_machine = libvirtd.in_run(OF_MACHINE);
        fs::create_dir_all(&of_machine).map_err(file(&of_machine))?;
        let emulator = emulator(&groups.doors(&Machine::share(name)), more);
        for (name, text) in files.iter().chain([&(EMULATOR, emulator)]) {
            let path = libvirtd.in_run(name);
            fs::write(&path, text).map_err(file(&path))?;
        }
        if let Some(script) = beside {
            let path = libvirtd.folder.join(BESIDE);
            fs::write(&path, script).map_err(file(&path))?;
        }
        let emulator = libvirtd.in_run(EMULATOR);
        fs::set_permissions(&emulator, fs::Permissions::from_mode(0o755))
            .map_err(file(&emulator))?;
        let place = Place::inside(netns(name), super::daemons(name));
        let log = libvirtd.folder.join("log");
        let process = Process::start(&place, &argv, &log)?;
        Ok(Self { libvirtd, process })
    }

    /// Waits until it answers.
    pub(super) fn wait(&mut self, interrupted: &AtomicBool) -> Result<(), LabError> {
        let begun = Instant::now();
        loop {
            unless_interrupted(interrupted)?;
            self.process.check()?;
            let Err(error) = self.virsh(&["version"]) else {
                return Ok(());
            };
            if begun.elapsed() >= ANSWERS_WITHIN {
                return Err(LabError::Late {
                    what: format!("an answer of libvirtd on {}", self.libvirtd.host),
                    seconds: ANSWERS_WITHIN.as_secs_f64(),
                    hint: format!(
                        "{error}; it said: {}",
                        tail(&self.libvirtd.folder.join("log"))
                    ),
                });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn virsh(&self, words: &[&str]) -> Result<String, LabError> {
        let uri = self.libvirtd.uri();
        let mut line = vec![ANSWER_S, "virsh", "--quiet", "--connect", &uri];
        line.extend_from_slice(words);
        run("timeout", &line)
    }

    /// The names of its domains.
    pub(super) fn domains(&self) -> Result<Vec<String>, LabError> {
        let known = self.virsh(&["list", "--all", "--name"])?;
        Ok(known.split_whitespace().map(str::to_owned).collect())
    }

    pub(super) fn forgotten(&self) -> Result<(), LabError> {
        let begun = Instant::now();
        loop {
            let known = self.domains()?;
            if known.is_empty() {
                return Ok(());
            }
            if begun.elapsed() >= FORGOTTEN_WITHIN {
                return Err(LabError::Late {
                    what: format!("the end of {} on {}", known.join(", "), self.libvirtd.host),
                    seconds: FORGOTTEN_WITHIN.as_secs_f64(),
                    hint: "its QEMU was killed, but libvirtd still knows it".into(),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What libvirt starts as QEMU: a process that first goes into the machine's share of the CPU, where what libvirtd uses does not count.
/// One that libvirt only asks what it can is QEMU as it is.
fn emulator(doors: &[PathBuf], more: &[String]) -> String {
    let doors: String = doors
        .iter()
        .map(|door| format!("echo $$ > {}\n", door.display()))
        .collect();
    let more: String = more
        .iter()
        .map(|word| format!(" {}", shell_quoted(word)))
        .collect();
    format!(
        "#!/bin/sh\nset -e\nPATH=${{PATH#/run/{OF_MACHINE}:}}\n\
         case \" $* \" in *' -name guest='*) ;; *) exec qemu-system-x86_64 \"$@\" ;; esac\n\
         {doors}exec qemu-system-x86_64 \"$@\"{more}\n"
    )
}

/// What QEMU is told of the machine's memory, of which libvirt knows whole MiB only: it gets the odd pages past libvirt
/// (`Machine::memory_kib`).
pub(super) fn odd_memory(machine: &Machine) -> [String; 6] {
    let memory_kib = machine.memory_kib();
    let bytes = u64::from(memory_kib) * 1024;
    [
        "-m".to_owned(),
        format!("size={memory_kib}k"),
        "-object".to_owned(),
        format!("memory-backend-ram,id=odd,size={bytes}"),
        "-machine".to_owned(),
        "memory-backend=odd".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs what is started as QEMU, with a QEMU that says how it was called.
    fn said(more: &[&str], arguments: &[&str]) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let (own, door) = (folder.path().join("emulator"), folder.path().join("door"));
        let program = |path: &std::path::Path, text: &str| {
            fs::write(path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let qemu = folder.path().join("qemu-system-x86_64");
        program(&qemu, "#!/bin/sh\nprintf '%s|' \"$@\"\n");
        let more: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        program(&own, &emulator(std::slice::from_ref(&door), &more));
        let path = format!("/run/machine:{}:/usr/bin:/bin", folder.path().display());
        let output = std::process::Command::new(&own)
            .args(arguments)
            .env("PATH", path)
            .output()
            .unwrap();
        let entered = fs::read_to_string(door).unwrap_or_default();
        (String::from_utf8(output.stdout).unwrap(), entered)
    }

    #[test]
    fn a_guest_is_in_the_machines_share_and_told_more() {
        let (said, entered) = said(&["-fw_cfg", "a b"], &["-name", "guest=vm,debug-threads=on"]);
        assert_eq!(said, "-name|guest=vm,debug-threads=on|-fw_cfg|a b|");
        assert!(!entered.is_empty());
    }

    #[test]
    fn a_qemu_that_is_only_asked_is_as_it_is() {
        let (said, entered) = said(&["-fw_cfg", "a b"], &["-machine", "none"]);
        assert_eq!((said.as_str(), entered.as_str()), ("-machine|none|", ""));
    }
}
