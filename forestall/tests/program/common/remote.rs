//! Two libvirtd that are reached as on machines of their own, by TLS and by ssh. Certificates, keys and all that is known of hosts are
//! the test's.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use drivers::libvirt::LibvirtConfig;
use record::HostName;

use super::certificates::{Authority, LIBVIRT, QEMU};
use super::libvirtd::{FAST, Libvirtd, Libvirts};
use super::site::HOSTS;
use super::{Running, free_tcp_port, wait_or};

/// Both hosts, and their certificates' name.
const ADDRESS: &str = "127.0.0.1";

/// What a client has to show and whom it believes: all in order.
pub(crate) const OURS: &str = "ours";
/// The hosts do not believe it.
pub(crate) const STRANGERS: &str = "strangers";
/// It does not believe the hosts.
pub(crate) const DOUBTERS: &str = "doubters";

/// The site's settings, with other ways to each host: for the driver, and for the other host's libvirtd.
fn reached(libvirts: &Libvirts, ways: impl Fn(usize) -> [String; 2]) -> LibvirtConfig {
    let mut config = libvirts.config();
    for (at, name) in HOSTS.iter().enumerate() {
        let host = config.hosts.get_mut(&HostName::new(name).unwrap()).unwrap();
        let [uri, peer_uri] = ways(at);
        (host.uri, host.peer_uri) = (uri, Some(peer_uri));
    }
    config
}

/// By TLS.
pub(crate) struct Tls {
    pub(crate) libvirts: Libvirts,
    folder: tempfile::TempDir,
    ports: [u16; 2],
}

impl Tls {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let ours = Authority::new("authority.example");
        let others = Authority::new("another.example");
        ours.write(&path(OURS), ADDRESS, LIBVIRT);
        others.write(&path(DOUBTERS), ADDRESS, LIBVIRT);
        others.write(&path(STRANGERS), ADDRESS, LIBVIRT);
        // Its own too: libvirt does not even try with a certificate that it cannot check itself.
        let both = ours.certificate.clone() + &others.certificate;
        fs::write(path(STRANGERS).join("cacert.pem"), both).unwrap();
        let ports = HOSTS.map(|_| free_tcp_port());
        let hosts = [0, 1].map(|host| {
            let memory = path(HOSTS[host]);
            ours.write(&memory, ADDRESS, QEMU);
            let listen = format!(
                "listen_tls = 1\ntls_port = \"{}\"\nauth_tls = \"none\"\nca_file = \"{1}/cacert.pem\"\n\
                 cert_file = \"{1}/servercert.pem\"\nkey_file = \"{1}/serverkey.pem\"",
                ports[host],
                path(OURS).display()
            );
            let encrypt = format!(
                "namespaces = []\nmigrate_tls_x509_cert_dir = \"{}\"",
                memory.display()
            );
            let told = [
                ("libvirtd.conf", "listen_tls = 0", listen),
                ("etc/libvirt/qemu.conf", "namespaces = []", encrypt),
            ];
            Libvirtd::start_told(HOSTS[host], &told)
        });
        Self {
            libvirts: Libvirts::of(hosts, FAST),
            folder,
            ports,
        }
    }

    /// What a driver is told: with what it comes to the hosts itself, and with what they come to each other.
    pub(crate) fn config(&self, own: &str, peers: &str) -> LibvirtConfig {
        reached(&self.libvirts, |host| {
            [own, peers].map(|client| {
                format!(
                    "qemu+tls://{ADDRESS}:{}/system?pkipath={}",
                    self.ports[host],
                    self.folder.path().join(client).display()
                )
            })
        })
    }

    /// From now on QEMU at a host shows certificates of another authority to whom sends it a guest's memory.
    pub(crate) fn make_memory_strange(&self, host: usize) {
        let folder = self.folder.path().join(HOSTS[host]);
        Authority::new("another.example").write(&folder, ADDRESS, QEMU);
    }
}

/// By ssh.
pub(crate) struct Ssh {
    pub(crate) libvirts: Arc<Libvirts>,
    /// They are on the libvirtd's hosts.
    _servers: [Running; 2],
    folder: tempfile::TempDir,
    ports: [u16; 2],
}

/// An sshd in a host's namespaces. It looks into `shadow`: a root without a password of its own is locked on some machines, and
/// nobody may come in.
const SSHD: &str = r#"mount --bind "$1/shadow" /etc/shadow && mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -f "$1/$2-sshd""#;
pub(crate) const SHADOW: &str = "root:*:19000::::::\n";

impl Ssh {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        make_key(&path("key"));
        make_key(&path("another-key"));
        fs::copy(path("key.pub"), path("authorized_keys")).unwrap();
        fs::write(path("shadow"), SHADOW).unwrap();
        let ports = HOSTS.map(|_| free_tcp_port());
        let mut known = String::new();
        for (host, port) in HOSTS.iter().zip(ports) {
            make_key(&path(&format!("{host}-key")));
            let public = fs::read_to_string(path(&format!("{host}-key.pub"))).unwrap();
            known += &format!("[{ADDRESS}]:{port} {public}");
            let settings = format!(
                "ListenAddress {ADDRESS}:{port}\nHostKey {0}/{host}-key\nAuthorizedKeysFile {0}/authorized_keys\nPidFile none\n\
                 StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\n",
                folder.path().display()
            );
            fs::write(path(&format!("{host}-sshd")), settings).unwrap();
        }
        for (client, key, known) in [
            (OURS, "key", known.as_str()),
            (STRANGERS, "another-key", known.as_str()),
            (DOUBTERS, "key", ""),
        ] {
            write_client(&path(client), &path(key), known);
        }
        let hosts = HOSTS.map(Libvirtd::start);
        let servers = [0, 1].map(|host| start_sshd(&hosts[host], folder.path(), host, ports[host]));
        Self {
            libvirts: Arc::new(Libvirts::of(hosts, FAST)),
            _servers: servers,
            folder,
            ports,
        }
    }

    /// What a driver is told: with what it comes to the hosts itself, and with what they come to each other. It has libvirt's own
    /// program at the other end; they have `nc`, as it is with older ones.
    pub(crate) fn config(&self, own: &str, peers: &str) -> LibvirtConfig {
        reached(&self.libvirts, |host| {
            [self.uri(host, own), self.peer_uri(host, peers)]
        })
    }

    /// The same for a driver whose user's home has what ssh looks for by itself: `key`, and `known_hosts`.
    pub(crate) fn config_at_home(&self) -> LibvirtConfig {
        reached(&self.libvirts, |host| {
            let uri = format!("qemu+ssh://root@{ADDRESS}:{}/system", self.ports[host]);
            [uri, self.peer_uri(host, OURS)]
        })
    }

    /// The folder of a client.
    pub(crate) fn client(&self, client: &str) -> PathBuf {
        self.folder.path().join(client)
    }

    fn uri(&self, host: usize, client: &str) -> String {
        format!(
            "qemu+ssh://root@{ADDRESS}:{}/system?no_tty=1&keyfile={1}/key&command={1}/ssh",
            self.ports[host],
            self.client(client).display()
        )
    }

    fn peer_uri(&self, host: usize, client: &str) -> String {
        self.uri(host, client) + "&proxy=netcat&netcat=nc.openbsd&socket=/run/libvirt/libvirt-sock"
    }
}

pub(crate) fn make_key(file: &Path) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(file)
        .status()
        .unwrap();
    assert!(status.success());
}

/// A folder with an `ssh` that knows these hosts and no others, whoever's account it runs in: libvirt has no word for that, but one
/// for the program (`command`); `known_hosts` in a URI is for libssh.
fn write_client(folder: &Path, key: &Path, known: &str) {
    fs::create_dir(folder).unwrap();
    fs::copy(key, folder.join("key")).unwrap();
    fs::write(folder.join("known_hosts"), known).unwrap();
    let settings = format!(
        "UserKnownHostsFile {}/known_hosts\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nIdentitiesOnly yes\n\
         IdentityAgent none\n",
        folder.display()
    );
    fs::write(folder.join("settings"), settings).unwrap();
    let program = folder.join("ssh");
    let script = format!(
        "#!/bin/sh\nexec ssh -F {}/settings \"$@\"\n",
        folder.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn start_sshd(libvirtd: &Libvirtd, folder: &Path, host: usize, port: u16) -> Running {
    let here = folder.to_str().unwrap();
    let mut sshd = libvirtd.program(&["sh", "-c", SSHD, "sh", here, HOSTS[host]]);
    let log = folder.join(format!("{}-log", HOSTS[host]));
    sshd.stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap());
    let sshd = Running::start(sshd);
    wait_or(
        || TcpStream::connect((ADDRESS, port)).is_ok(),
        || {
            let said = fs::read_to_string(&log).unwrap();
            format!("sshd does not listen: {said}")
        },
    );
    sshd
}
