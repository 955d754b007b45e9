//! A libvirtd beside others on one machine.
//!
//! It needs folders of its own, so that it leaves the machine's one alone, and a process namespace of its own, so that it can be
//! killed with all that it started; a host name and a UUID of its own, since libvirt refuses to migrate to the same host; and a
//! `/run` of its own, without the way to systemd, which would put its guests into other control groups.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use drivers::libvirt::LibvirtHost;

use crate::error::{LabError, file};

/// The shell stays as process 1 and reaps: with libvirtd there, each end of a QEMU would cost libvirt's 40 s of waiting for it.
/// Some systems forbid programs in `/run`. One that is killed leaves its guests and is started again, as on a host whose systemd does
/// that; not while there is a file `down`. What a manager runs beside it is in a file [`BESIDE`].
const SCRIPT: &str = r#"
set -e
name=$1 dir=$2 state=$3
hostname "$name"
mount --make-rprivate /
for file in hosts resolv.conf passwd group; do mount --bind "$dir/etc/$file" /etc/$file; done
for folder in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p $folder "$dir$folder"
    mount --bind "$dir$folder" $folder
done
case $state in /run/*) mkdir -p "$dir$state"; mount --bind "$state" "$dir$state" ;; esac
mount --rbind "$dir/run" /run
mount -o remount,bind,exec /run
if [ -e "$dir/beside" ]; then . "$dir/beside"; fi
while libvirtd --listen --config "$dir/libvirtd.conf" --pid-file "$dir/libvirtd.pid"; [ $? = 137 ]; do
    while [ -e "$dir/down" ]; do sleep 0.1; done
done
"#;
/// A script in the libvirtd's folder, where there is one: run in the same namespaces, before libvirtd.
pub(super) const BESIDE: &str = "beside";
/// Where libvirt's QEMU runs as somebody else; here it does not, but libvirt wants the user to exist.
const PASSWD: &str = "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "libvirt-qemu:x:64055:\nlibvirt:x:64056:\n";

/// What tells one libvirtd from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libvirtd {
    /// Its host's name.
    pub host: String,
    /// All that it keeps is here.
    pub folder: PathBuf,
    /// What it has to see, too, where that is in `/run`.
    pub state: PathBuf,
    /// Its number among those that migrate to each other.
    pub number: u16,
    /// Where other libvirtd reach it. Guests come in at the same address.
    pub listen: SocketAddrV4,
    /// Ports at which guests come in: the first, and the last.
    pub incoming: (u16, u16),
}

impl Libvirtd {
    /// Writes its files and says what starts it: in the foreground, ended with the thread that started it.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn prepare(&self) -> Result<Vec<String>, LabError> {
        let system = |name: &str| {
            let path = Path::new("/etc").join(name);
            fs::read_to_string(&path).map_err(file(&path))
        };
        let (host, listen) = (&self.host, self.listen);
        let files = [
            ("etc/hosts", format!("127.0.0.1 localhost {host}\n")),
            ("etc/resolv.conf", String::new()),
            ("etc/passwd", system("passwd")? + PASSWD),
            ("etc/group", system("group")? + GROUP),
            (
                "libvirtd.conf",
                format!(
                    "listen_tls = 0\nlisten_tcp = 1\ntcp_port = \"{}\"\nlisten_addr = \"{}\"\nauth_tcp = \"none\"\n\
                     auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nhost_uuid = \"00000000-0000-4000-8000-{:012}\"\n",
                    listen.port(),
                    listen.ip(),
                    self.number
                ),
            ),
            (
                "etc/libvirt/qemu.conf",
                format!(
                    "security_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\ncgroup_controllers = []\nnamespaces = []\n\
                     stdio_handler = \"file\"\ndynamic_ownership = 0\nremember_owner = 0\nmigration_port_min = {}\n\
                     migration_port_max = {}\n",
                    self.incoming.0, self.incoming.1
                ),
            ),
        ];
        for folder in ["etc/libvirt", "run"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder).map_err(file(&folder))?;
        }
        for (name, text) in files {
            let path = self.folder.join(name);
            fs::write(&path, text).map_err(file(&path))?;
        }
        let mut argv = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--uts",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "bash",
            "-c",
            SCRIPT,
            "libvirtd",
        ]
        .map(String::from)
        .to_vec();
        let path = |path: &Path| path.display().to_string();
        argv.extend([host.clone(), path(&self.folder), path(&self.state)]);
        Ok(argv)
    }

    /// A file of its `/run`, as everybody else sees it.
    #[must_use]
    pub fn in_run(&self, name: &str) -> PathBuf {
        self.folder.join("run").join(name)
    }

    /// The address at which programs of this machine reach it, whatever their network.
    #[must_use]
    pub fn uri(&self) -> String {
        let socket = self.in_run("libvirt/libvirt-sock");
        format!("qemu+unix:///system?socket={}", socket.display())
    }

    /// How a driver reaches it.
    #[must_use]
    pub fn driver_host(&self) -> LibvirtHost {
        LibvirtHost {
            uri: self.uri(),
            peer_uri: Some(format!("qemu+tcp://{}/system", self.listen)),
            migration_uri: Some(format!("tcp://{}", self.listen.ip())),
        }
    }
}
