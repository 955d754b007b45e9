//! Builds the guest and keeps it.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use scenario::Chain;
use serde::{Deserialize, Serialize};

use crate::error::{LabError, file};
use crate::process::run;

/// The Debian package that the guest's kernel comes from.
pub const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
const INIT: &str = include_str!("init.sh");
/// In the order in which they are loaded, below `lib/modules/*/kernel`.
const MODULES: [&str; 11] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/block/virtio_blk",
    "fs/squashfs/squashfs",
    "drivers/firmware/qemu_fw_cfg",
];
/// The font that the function draws with, and the package that it comes from.
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";

/// A guest that can be booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Linux.
    pub kernel: PathBuf,
    /// busybox and modules.
    pub initramfs: PathBuf,
    /// squashfs with the programs.
    pub root: PathBuf,
}

impl Guest {
    /// The guest for a chain, built when there is none of these programs yet.
    ///
    /// # Errors
    /// When a package is missing or a program that builds it fails.
    pub fn build(chain: Chain) -> Result<Self, LabError> {
        let cache = cache()?;
        let own = std::env::current_exe().map_err(file("/proc/self/exe"))?;
        let mut programs = vec![PathBuf::from("/bin/busybox"), own];
        if chain != Chain::Forestall {
            programs.push("/usr/bin/ffmpeg".into());
        }
        let mut files = BTreeSet::from([PathBuf::from(FONT)]);
        for program in &programs {
            files.insert(program.clone());
            files.extend(libraries(program)?);
        }
        let folder = cache.join(format!("guest-{:016x}", digest(&files)?));
        let guest = Self::in_folder(&folder);
        if folder.exists() {
            return Ok(guest);
        }
        // Built beside its place and then renamed, so that a build that was killed leaves nothing that looks whole.
        let work = cache.join(format!("building-{}", std::process::id()));
        fs::create_dir_all(&work).map_err(file(&work))?;
        let built = build_in(&work, &cache, &files, &programs[1]);
        let renamed = built.and_then(|()| fs::rename(&work, &folder).map_err(file(&folder)));
        if renamed.is_err() {
            fs::remove_dir_all(&work).ok();
        }
        renamed.map(|()| guest)
    }

    /// The guest whose files are in a folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            kernel: folder.join("vmlinuz"),
            initramfs: folder.join("initramfs"),
            root: folder.join("root.squashfs"),
        }
    }

    /// All its files.
    pub(crate) fn files(&self) -> [&Path; 3] {
        [&self.kernel, &self.initramfs, &self.root]
    }
}

fn cache() -> Result<PathBuf, LabError> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base =
        base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let folder = base
        .unwrap_or_else(|| "/var/cache".into())
        .join("forestall");
    fs::create_dir_all(&folder).map_err(file(&folder))?;
    Ok(folder)
}

fn build_in(
    work: &Path,
    cache: &Path,
    files: &BTreeSet<PathBuf>,
    own: &Path,
) -> Result<(), LabError> {
    let package = kernel(cache)?;
    let (kernel, modules) = (
        find(&package.join("boot"), "vmlinuz")?,
        find(&package.join("lib/modules"), "")?,
    );
    fs::copy(&kernel, work.join("vmlinuz")).map_err(file(&kernel))?;

    let tree = work.join("initramfs.tree");
    for folder in ["bin", "lib", "proc", "sys", "dev", "root"] {
        make(&tree.join(folder))?;
    }
    fs::write(tree.join("init"), INIT).map_err(file(&tree))?;
    run("chmod", &["755", &text(&tree.join("init"))])?;
    copy(Path::new("/bin/busybox"), &tree.join("bin/busybox"))?;
    for module in MODULES {
        let from = modules.join("kernel").join(module).with_extension("ko");
        // Other kernels have some of them built in; the guest says what it lacks.
        if let (true, Some(name)) = (from.exists(), from.file_name()) {
            copy(&from, &tree.join("lib").join(name))?;
        }
    }
    let pack = format!(
        "cd {} && find . | cpio --quiet -o -H newc | gzip -1 > ../initramfs",
        quoted(&tree)
    );
    run("sh", &["-c", &pack])?;

    let root = work.join("root.tree");
    for folder in ["bin", "proc", "sys", "dev", "tmp"] {
        make(&root.join(folder))?;
    }
    for source in files {
        let to = if source == own {
            Path::new("/bin/forestall")
        } else {
            source
        };
        copy(source, &root.join(to.strip_prefix("/").unwrap_or(to)))?;
    }
    symlink("busybox", root.join("bin/sh")).map_err(file(&root))?;
    let (from, to) = (text(&root), text(&work.join("root.squashfs")));
    // Not compressed: reading it costs the emulated CPU nothing then.
    run(
        "mksquashfs",
        &[
            &from,
            &to,
            "-noI",
            "-noD",
            "-noF",
            "-noX",
            "-all-root",
            "-quiet",
            "-no-progress",
        ],
    )?;
    fs::remove_dir_all(&root)
        .and_then(|()| fs::remove_dir_all(&tree))
        .map_err(file(work))
}

/// The unpacked kernel package; fetched once.
fn kernel(cache: &Path) -> Result<PathBuf, LabError> {
    let depends = run("apt-cache", &["depends", KERNEL_PACKAGE])?;
    let name = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|n| n.starts_with("linux-image-"));
    let name = name.ok_or_else(|| {
        LabError::Missing(format!(
            "Debian's package {KERNEL_PACKAGE} is not known here: run `apt-get update`"
        ))
    })?;
    let folder = cache.join(name);
    if !folder.exists() {
        let work = cache.join(format!("fetching-{}", std::process::id()));
        make(&work)?;
        let fetch = format!(
            "cd {} && apt-get download -qq {name} && dpkg-deb -x {name}_*.deb tree",
            quoted(&work)
        );
        let fetched = run("sh", &["-c", &fetch]).and_then(|_| {
            let tree = work.join("tree");
            fs::rename(&tree, &folder).map_err(file(&folder))
        });
        fs::remove_dir_all(&work).map_err(file(&work))?;
        fetched?;
    }
    Ok(folder)
}

/// Shared libraries of a program, with the loader.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, LabError> {
    let name = text(program);
    let listing = match run("ldd", &[&name]) {
        Ok(listing) => listing,
        Err(LabError::Program { why, .. }) if why.contains("not a dynamic executable") => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for line in listing.lines() {
        if line.contains("not found") {
            return Err(LabError::Missing(format!(
                "{name} needs a library that is not here: {}",
                line.trim()
            )));
        }
        found.extend(
            line.split_whitespace()
                .find(|word| word.starts_with('/'))
                .map(PathBuf::from),
        );
    }
    Ok(found)
}

/// Changes when anything that goes into the guest does.
fn digest(files: &BTreeSet<PathBuf>) -> Result<u64, LabError> {
    let mut hasher = DefaultHasher::new();
    (INIT, MODULES).hash(&mut hasher);
    for path in files {
        let meta = fs::metadata(path).map_err(file(path))?;
        (path, meta.len(), meta.mtime(), meta.mtime_nsec()).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn find(folder: &Path, prefix: &str) -> Result<PathBuf, LabError> {
    let entries = fs::read_dir(folder).map_err(file(folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    });
    found.ok_or_else(|| LabError::Missing(format!("{} has no {prefix}", folder.display())))
}

fn make(folder: &Path) -> Result<(), LabError> {
    fs::create_dir_all(folder).map_err(file(folder))
}

fn copy(from: &Path, to: &Path) -> Result<(), LabError> {
    if let Some(folder) = to.parent() {
        make(folder)?;
    }
    fs::copy(from, to).map_err(file(from)).map(drop)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn quoted(path: &Path) -> String {
    format!("'{}'", text(path).replace('\'', "'\\''"))
}
