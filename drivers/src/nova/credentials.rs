//! Who Forestall is to a cloud: `clouds.yaml` or the variables `OS_*`, as OpenStack's own clients read them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

/// Why it is not known who Forestall is. No error has a value of the file in it.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// There is no `clouds.yaml`.
    #[error(
        "no clouds.yaml in the working folder, ~/.config/openstack or /etc/openstack; OS_CLIENT_CONFIG_FILE names another"
    )]
    NoFile,
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not what OpenStack's clients read.
    #[error("{path} is no clouds.yaml: wrong at line {line}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where; 0 when that is not known.
        line: u64,
    },
    /// The file knows no such cloud.
    #[error("{path} names no cloud {cloud:?}; it has {known}")]
    NoCloud {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        cloud: String,
        /// What there is.
        known: String,
    },
    /// Something is not said.
    #[error("{whence} does not say {missing}")]
    Missing {
        /// File and cloud, or the environment.
        whence: String,
        /// What is missing.
        missing: &'static str,
    },
    /// The certificates to trust cannot be used.
    #[error("{path} has no certificate to trust: {why}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A server's id is none.
    #[error("{0:?} is no id of a server: letters, digits and dashes")]
    ServerId(String),
}

/// What a token is asked for with, and where. Not `Debug`: it has the password in it.
pub(super) struct Credentials {
    /// Keystone's address, up to and with `/v3`.
    pub(super) auth_url: String,
    /// The body of the request for a token.
    pub(super) request: Value,
    pub(super) region: Option<String>,
    pub(super) interface: String,
    pub(super) ca_file: Option<PathBuf>,
}

/// What is said of one cloud; the keys are those of `auth` in clouds.yaml.
#[derive(Default, Deserialize)]
struct Cloud {
    #[serde(default)]
    auth: BTreeMap<String, String>,
    region_name: Option<String>,
    interface: Option<String>,
    cacert: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Clouds {
    clouds: BTreeMap<String, Cloud>,
}

impl Credentials {
    /// Those of a cloud in `clouds.yaml`, or of the environment.
    pub(super) fn find(cloud: Option<&str>, file: Option<&Path>) -> Result<Self, CredentialsError> {
        let Some(cloud) = cloud else {
            return of("the environment (OS_*)", from_environment(environment()));
        };
        let path = file.map(Path::to_owned).or_else(clouds_file);
        let path = path.ok_or(CredentialsError::NoFile)?;
        let mut said = read(&path, cloud)?;
        // Passwords may stand in a file beside it.
        let secure = path.with_file_name("secure.yaml");
        if secure.exists() {
            match read(&secure, cloud) {
                Ok(secret) => said.auth.extend(secret.auth),
                Err(CredentialsError::NoCloud { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        of(&format!("cloud {cloud} in {}", path.display()), said)
    }
}

/// Variables that are text; no other is looked for.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn clouds_file() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("OS_CLIENT_CONFIG_FILE") {
        return Some(file.into());
    }
    let home = std::env::home_dir().map(|home| home.join(".config/openstack"));
    let folders = [Some(PathBuf::new()), home, Some("/etc/openstack".into())];
    let files = folders.into_iter().flatten();
    files
        .map(|folder| folder.join("clouds.yaml"))
        .find(|file| file.exists())
}

fn read(path: &Path, cloud: &str) -> Result<Cloud, CredentialsError> {
    let text = std::fs::read_to_string(path).map_err(|source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    })?;
    // The parser's own words may show the line, and so a password.
    let mut clouds = serde_saphyr::from_str::<Clouds>(&text)
        .map_err(|error| CredentialsError::Wrong {
            path: path.to_owned(),
            line: error.location().map_or(0, |location| location.line()),
        })?
        .clouds;
    let found = clouds.remove(cloud);
    found.ok_or_else(|| CredentialsError::NoCloud {
        path: path.to_owned(),
        cloud: cloud.to_owned(),
        known: clouds.into_keys().collect::<Vec<_>>().join(", "),
    })
}

fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Cloud {
    let mut cloud = Cloud::default();
    let said = variables
        .filter_map(|(name, value)| Some((name.strip_prefix("OS_")?.to_lowercase(), value)));
    for (name, value) in said {
        match name.as_str() {
            "region_name" => cloud.region_name = Some(value),
            "interface" => cloud.interface = Some(value),
            "cacert" => cloud.cacert = Some(value.into()),
            _ => drop(cloud.auth.insert(name, value)),
        }
    }
    cloud
}

/// Keystone v3's request for a token (`POST /v3/auth/tokens`).
fn of(whence: &str, cloud: Cloud) -> Result<Credentials, CredentialsError> {
    let said = |key: &str| cloud.auth.get(key).filter(|value| !value.is_empty());
    let need = |key: &str, missing: &'static str| {
        said(key).ok_or_else(|| CredentialsError::Missing {
            whence: whence.to_owned(),
            missing,
        })
    };
    // By its id, or by its name within a domain.
    let domain = |of: &str| match said(&format!("{of}_domain_id")) {
        Some(id) => json!({ "id": id }),
        None => {
            json!({ "name": said(&format!("{of}_domain_name")).map_or("Default", String::as_str) })
        }
    };
    let auth_url = need("auth_url", "where Keystone is (auth_url)")?.trim_end_matches('/');
    let auth_url = auth_url.strip_suffix("/v3").unwrap_or(auth_url);
    let request = if let Some(id) = said("application_credential_id") {
        let secret = need(
            "application_credential_secret",
            "the secret of its application credential (application_credential_secret)",
        )?;
        // It has its project in it.
        json!({ "auth": { "identity": {
            "methods": ["application_credential"],
            "application_credential": { "id": id, "secret": secret },
        } } })
    } else {
        let password = need("password", "a password (password)")?;
        let user = match said("user_id") {
            Some(id) => json!({ "id": id, "password": password }),
            None => json!({
                "name": need("username", "who it is (username)")?,
                "domain": domain("user"), "password": password,
            }),
        };
        let project = match said("project_id") {
            Some(id) => json!({ "id": id }),
            None => json!({
                "name": need("project_name", "a project (project_name)")?, "domain": domain("project"),
            }),
        };
        json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": project },
        } })
    };
    Ok(Credentials {
        auth_url: format!("{auth_url}/v3"),
        request,
        region: cloud.region_name,
        interface: cloud.interface.unwrap_or_else(|| "public".into()),
        ca_file: cloud.cacert,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUDS: &str = "\
clouds:
  edge:
    auth: { auth_url: 'https://keystone:5000/v3/', username: forestall, password: canary, project_name: video,
            user_domain_name: Edge, project_domain_id: default }
    region_name: West
    interface: internal
    verify: true
  app:
    auth_type: v3applicationcredential
    auth: { auth_url: 'http://keystone/identity', application_credential_id: 21, application_credential_secret: canary }
  half:
    auth: { auth_url: 'http://keystone', username: forestall, password: canary }
";

    fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clouds.yaml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_cloud_of_the_file() {
        let (_folder, path) = folder(CLOUDS);
        let edge = of("", read(&path, "edge").unwrap()).unwrap();
        assert_eq!(edge.auth_url, "https://keystone:5000/v3");
        assert_eq!(edge.region.as_deref(), Some("West"));
        assert_eq!(edge.interface, "internal");
        let user = &edge.request["auth"]["identity"]["password"]["user"];
        assert_eq!(user["domain"], json!({ "name": "Edge" }));
        let project = &edge.request["auth"]["scope"]["project"];
        assert_eq!(project["domain"], json!({ "id": "default" }));
        let app = of("", read(&path, "app").unwrap()).unwrap();
        assert_eq!(app.auth_url, "http://keystone/identity/v3");
        let credential = &app.request["auth"]["identity"]["application_credential"];
        assert_eq!(credential["id"], "21");
        assert_eq!(app.request["auth"]["scope"], Value::Null);
    }

    #[test]
    fn the_environment() {
        let variables = [
            ("OS_AUTH_URL", "http://keystone:5000"),
            ("OS_USERNAME", "forestall"),
            ("OS_PASSWORD", "canary"),
            ("OS_PROJECT_NAME", "video"),
            ("HOME", "/"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = of("", from_environment(variables.into_iter())).unwrap();
        assert_eq!(found.auth_url, "http://keystone:5000/v3");
        let user = &found.request["auth"]["identity"]["password"]["user"];
        assert_eq!(user["domain"], json!({ "name": "Default" }));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is() {
        let (_folder, path) = folder(CLOUDS);
        let said = |result: Result<Credentials, CredentialsError>| match result {
            Ok(_) => panic!("taken"),
            Err(error) => format!("{error} {error:?}"),
        };
        let half = said(of("cloud half", read(&path, "half").unwrap()));
        assert!(half.contains("cloud half does not say a project"), "{half}");
        let nobody = said(read(&path, "nobody").and_then(|cloud| of("", cloud)));
        assert!(nobody.contains("app, edge, half"), "{nobody}");
        let (_folder, broken) = folder("clouds:\n  edge:\n    auth: [password canary\n");
        let broken = said(read(&broken, "edge").and_then(|cloud| of("", cloud)));
        assert!(broken.contains("is no clouds.yaml"), "{broken}");
        for words in [half, nobody, broken] {
            assert!(!words.contains("canary"), "{words}");
        }
    }
}
