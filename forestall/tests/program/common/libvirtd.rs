//! Two real libvirtd on one machine, each in namespaces of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use drivers::libvirt::{LibvirtConfig, LibvirtHost};
use record::HostName;
use serde_json::{Value, json};

use super::machines::{ANSWER_WITHIN, Machines, qmp};
use super::site::{FUNCTION, HOSTS};
use super::{Running, free_tcp_port, wait_for, wait_or};

/// Copying of the little guest below is over in a moment.
pub(crate) const FAST: u64 = 1000;
/// The least that libvirt knows. It takes half a second for what the guest writes to within a millisecond: with it, copying never
/// comes to an end by itself.
pub(crate) const SLOW: u64 = 1;

/// A boot sector that writes to each page of half a MiB for ever.
const BOOT: [u8; 22] = [
    0xBB, 0x00, 0x10, // mov bx, 0x1000
    0x8E, 0xC3, // next: mov es, bx
    0x26, 0xFF, 0x06, 0x00, 0x00, // inc word [es:0]
    0x81, 0xC3, 0x00, 0x01, // add bx, 0x100
    0x81, 0xFB, 0x00, 0x90, // cmp bx, 0x9000
    0x72, 0xEF, // jb next
    0xEB, 0xEA, // jmp 0
];

/// A disk that boots into that.
pub(crate) fn boot_image() -> Vec<u8> {
    let mut image = BOOT.to_vec();
    image.resize(510, 0);
    image.extend([0x55, 0xAA]);
    image.resize(1_474_560, 0);
    image
}

/// A libvirtd, and all that it started, until it goes out of scope.
pub(crate) struct Libvirtd {
    folder: tempfile::TempDir,
    libvirtd: lab::engine::libvirtd::Libvirtd,
    namespace: Child,
}

impl Libvirtd {
    /// One that answers.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_told(name, &[])
    }

    /// One that is told something else than others: in a file of its folder, one text instead of another.
    pub(crate) fn start_told(name: &str, told: &[(&str, &str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (dir, port) = (folder.path(), free_tcp_port());
        // libvirt's QEMU has to come by.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        let libvirtd = lab::engine::libvirtd::Libvirtd {
            host: name.into(),
            folder: dir.to_owned(),
            state: dir.to_owned(),
            number: port,
            listen: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            // Not the other's.
            incoming: if name == HOSTS[0] {
                (49_152, 49_215)
            } else {
                (49_216, 49_279)
            },
        };
        let argv = libvirtd.prepare().unwrap();
        for (file, text, instead) in told {
            let file = dir.join(file);
            let before = fs::read_to_string(&file).unwrap();
            assert!(before.contains(*text), "{before}");
            fs::write(file, before.replace(*text, instead)).unwrap();
        }
        let log = fs::File::create(dir.join("log")).unwrap();
        let namespace = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let libvirtd = Self {
            folder,
            libvirtd,
            namespace,
        };
        wait_or(
            || libvirtd.virsh(&["version"]).status.success(),
            || {
                let log = fs::read_to_string(libvirtd.folder.path().join("log"));
                format!("libvirtd does not answer\n{}", log.unwrap_or_default())
            },
        );
        libvirtd
    }

    /// How a driver reaches it.
    pub(crate) fn host(&self) -> LibvirtHost {
        self.libvirtd.driver_host()
    }

    /// It ends with the test.
    fn ask(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "virsh"])
            .args(["--quiet", "--connect", &self.libvirtd.uri()])
            .args(words)
            .env("LC_ALL", "C");
        command
    }

    pub(crate) fn virsh(&self, words: &[&str]) -> Output {
        self.ask(words).output().unwrap()
    }

    /// What it says, which has to be good.
    pub(crate) fn say(&self, words: &[&str]) -> String {
        let output = self.virsh(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its file with the little guest in it. libvirt knows whole MiB of memory only, of which QEMU before 9.0 under emulation
    /// misses what the guest writes after the second pass of copying (ARCHITECTURE.md, "The guest's memory"): pre-copy would end,
    /// with a corrupt guest. So it gets two pages more past libvirt.
    fn domain_file(&self) -> PathBuf {
        let file = |name| -> PathBuf { self.folder.path().join(name) };
        fs::write(file("boot.img"), boot_image()).unwrap();
        // And who answers a test when libvirt does not: in a folder of the libvirtd's own, under a name that a target has, too.
        let words = [
            "-qmp",
            "unix:/run/watched,server=on,wait=off",
            "-m",
            "size=32776k",
            "-object",
            "memory-backend-ram,id=odd,size=33562624",
            "-machine",
            "memory-backend=odd",
        ];
        let words = words.map(|word| format!("<qemu:arg value='{word}'/>"));
        let xml = format!(
            "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>{FUNCTION}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='fd'/></os>\
             <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>\
             <disk type='file' device='floppy'><driver name='qemu' type='raw' cache='none'/><source file='{}'/><target dev='fda' bus='fdc'/><readonly/></disk>\
             <controller type='usb' model='none'/><memballoon model='none'/></devices>\
             <qemu:commandline>{}</qemu:commandline></domain>",
            file("boot.img").display(),
            words.concat()
        );
        fs::write(file("domain.xml"), xml).unwrap();
        file("domain.xml")
    }

    /// Has libvirt know the little guest when it does not run, too.
    pub(crate) fn define(&self) {
        self.say(&["define", self.domain_file().to_str().unwrap()]);
    }

    /// Has it run here, and libvirt forget it when it does not.
    pub(crate) fn begin(&self) {
        self.say(&["create", self.domain_file().to_str().unwrap()]);
    }

    /// Has it run here, and libvirt know it when it does not, too.
    pub(crate) fn begin_persistent(&self) {
        self.define();
        self.say(&["start", FUNCTION]);
    }

    /// Whether it knows the guest at all, running or not.
    pub(crate) fn knows(&self) -> bool {
        self.say(&["list", "--all", "--name"])
            .lines()
            .any(|name| name == FUNCTION)
    }

    pub(crate) fn runs(&self) -> bool {
        self.virsh(&["domstate", FUNCTION])
            .stdout
            .starts_with(b"running")
    }

    /// What the guest's QEMU answers, whether libvirt answers or not; null where there is none.
    pub(crate) fn qemu(&self, command: &str, arguments: &Value) -> Value {
        let there = UnixStream::connect(self.libvirtd.in_run("watched"));
        let Ok(stream) = there else {
            return Value::Null;
        };
        stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        qmp(stream, command, arguments)
    }

    /// Whether the guest really runs here.
    pub(crate) fn executes(&self) -> bool {
        self.qemu("query-status", &json!({}))["running"] == true
    }

    /// Has what happens to the running guest told from now on, for as long as the result is held.
    pub(crate) fn watch(&self) -> Running {
        let told = fs::File::create(self.folder.path().join("events")).unwrap();
        let mut events = self.ask(&["event", "--event", "lifecycle", "--loop"]);
        events.stdout(told);
        let watching = Running::start(events);
        wait_for("libvirt tells what happens", || {
            self.say(&["suspend", FUNCTION]);
            self.say(&["resume", FUNCTION]);
            !self.told().is_empty()
        });
        watching
    }

    /// What was told, a line each.
    pub(crate) fn told(&self) -> String {
        fs::read_to_string(self.folder.path().join("events")).unwrap()
    }

    /// A figure of the migration that is under way from here; `None` when there is none.
    pub(crate) fn job_figure(&self, key: &str) -> Option<u64> {
        let said = self.virsh(&["domjobinfo", FUNCTION, "--rawstats"]).stdout;
        let said = String::from_utf8(said).unwrap();
        let figure = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            (name == key).then(|| value.parse().unwrap())
        };
        said.lines().find_map(figure)
    }

    /// Process 1 of its namespaces, as this side's /proc has it.
    fn shell(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.namespace.id());
        let shell = fs::read_to_string(children).unwrap();
        shell.trim().parse().unwrap()
    }

    /// A program on its host: with its files, its name, and among its processes. It ends with the test.
    pub(crate) fn program(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "nsenter", "--target"])
            .arg(self.shell().to_string())
            .args(["--mount", "--pid", "--uts"])
            .args(argv);
        command
    }

    /// Its own process, as this side's /proc has it.
    fn signal(&self, signal: nix::sys::signal::Signal) {
        let inside = fs::read_to_string(self.folder.path().join("libvirtd.pid")).unwrap();
        let shell = self.shell();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let is_it = |pid: &&str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("NSpid:"));
            line.is_some_and(|line| line.split_whitespace().last() == Some(inside.trim()))
        };
        let pid = children
            .split_whitespace()
            .find(is_it)
            .unwrap()
            .parse()
            .unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    /// It answers nothing any more; its guests go on.
    pub(crate) fn freeze(&self) {
        self.signal(nix::sys::signal::Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(nix::sys::signal::Signal::SIGCONT);
    }

    /// Kills it; its guests go on. It stays away until it is to come back.
    pub(crate) fn kill(&self) {
        fs::write(self.folder.path().join("down"), "").unwrap();
        self.signal(nix::sys::signal::Signal::SIGKILL);
        wait_for("libvirtd is gone", || {
            !self.virsh(&["version"]).status.success()
        });
    }

    pub(crate) fn come_back(&self) {
        fs::remove_file(self.folder.path().join("down")).unwrap();
        wait_for("libvirtd answers again", || {
            self.virsh(&["version"]).status.success()
        });
    }
}

impl Drop for Libvirtd {
    fn drop(&mut self) {
        // `--kill-child`: process 1 of its namespace goes with it, and so does all in it.
        drop(self.namespace.kill());
        drop(self.namespace.wait());
    }
}

/// A site's machines under libvirt.
pub(crate) struct Libvirts {
    pub(crate) hosts: [Libvirtd; 2],
    bandwidth_mib_per_s: u64,
}

impl Libvirts {
    pub(crate) fn new(bandwidth_mib_per_s: u64) -> Self {
        Self::of(HOSTS.map(Libvirtd::start), bandwidth_mib_per_s)
    }

    pub(crate) fn of(hosts: [Libvirtd; 2], bandwidth_mib_per_s: u64) -> Self {
        Self {
            hosts,
            bandwidth_mib_per_s,
        }
    }

    /// What a driver of them has to be told.
    pub(crate) fn config(&self) -> LibvirtConfig {
        let name = |host: usize| HostName::new(HOSTS[host]).unwrap();
        LibvirtConfig {
            // Hardly anything is left to copy when so little time is allowed.
            downtime_limit_ms: if self.bandwidth_mib_per_s == SLOW {
                1
            } else {
                300
            },
            bandwidth_mib_per_s: self.bandwidth_mib_per_s,
            post_copy_after_s: None,
            auto_converge: false,
            tls: false,
            copy_disks: false,
            hosts: [0, 1]
                .map(|host| (name(host), self.hosts[host].host()))
                .into(),
            domains: [].into(),
        }
    }
}

impl Machines for Libvirts {
    fn engine(&self) -> Value {
        json!({ "libvirt": self.config() })
    }

    fn begin(&self, host: usize) {
        self.hosts[host].begin();
    }

    fn runs(&self, host: usize) -> bool {
        self.hosts[host].runs()
    }

    fn crash(&self, host: usize) {
        self.hosts[host].say(&["destroy", FUNCTION]);
    }
}
