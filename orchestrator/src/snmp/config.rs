//! The section `[snmp]` of the configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use record::HostName;
use serde::{Deserialize, Serialize};

use super::secret::{Secret, SecretError, SecretSource};

/// A shorter password is refused (RFC 3414, 11.2), by agents too.
const PASSWORD_BYTES_MIN: usize = 8;
/// Longest user name (RFC 3414, 2.4).
const USER_BYTES_MAX: usize = 32;
/// An answer is waited for at least so long, however often is asked.
const ANSWER_WITHIN_MIN: Duration = Duration::from_millis(200);

/// SNMP agents, and how to ask them.
///
/// The default is v3 with proof and secrecy (authPriv). v2c is taken only by its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snmp {
    /// `v3` when it is left out.
    #[serde(default)]
    pub version: SnmpVersion,
    /// v3: name of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// v3: how messages are signed; `SHA-256` when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthProtocol>,
    /// v3: password for signing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_password: Option<SecretSource>,
    /// v3: how messages are encrypted; `AES-128` when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacyProtocol>,
    /// v3: password for encrypting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_password: Option<SecretSource>,
    /// v2c: the community. It goes over the network in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub community: Option<SecretSource>,
    /// How often each agent is asked. Agents refresh their counters every 5 s: asking more often tells sooner.
    pub poll_ms: u64,
    /// The agents, by host.
    pub agents: BTreeMap<HostName, SocketAddr>,
}

/// Version of SNMP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnmpVersion {
    /// User-based, every message signed and encrypted.
    #[default]
    #[serde(rename = "v3")]
    V3,
    /// Community-based: no secrecy and no proof of who answers; for a management network that nobody else is on.
    #[serde(rename = "v2c")]
    V2c,
}

/// Signature of v3 messages (RFC 7860).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthProtocol {
    /// HMAC-SHA-224.
    #[serde(rename = "SHA-224")]
    Sha224,
    /// HMAC-SHA-256.
    #[default]
    #[serde(rename = "SHA-256")]
    Sha256,
    /// HMAC-SHA-384.
    #[serde(rename = "SHA-384")]
    Sha384,
    /// HMAC-SHA-512.
    #[serde(rename = "SHA-512")]
    Sha512,
}

/// Encryption of v3 messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrivacyProtocol {
    /// AES with a key of 128 bits (RFC 3826).
    #[default]
    #[serde(rename = "AES-128")]
    Aes128,
    /// AES with a key of 256 bits, the key lengthened as net-snmp does where the signature's is shorter (Blumenthal).
    #[serde(rename = "AES-256")]
    Aes256,
}

/// How agents are asked, with the secrets: checked, and nowhere shown.
#[derive(Clone, Debug)]
pub enum Access {
    /// Version 2c.
    V2c {
        /// The community.
        community: Secret,
    },
    /// Version 3, authPriv.
    V3 {
        /// Name of the user.
        user: String,
        /// Signature.
        auth: AuthProtocol,
        /// Password for signing.
        auth_password: Secret,
        /// Encryption.
        privacy: PrivacyProtocol,
        /// Password for encrypting.
        privacy_password: Secret,
    },
}

/// Why the section cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnmpError {
    /// A key that the version needs is not there.
    #[error("snmp.{key} is missing: SNMP {version} needs it")]
    Missing {
        /// The key.
        key: &'static str,
        /// The version.
        version: &'static str,
    },
    /// A key of the other version is there: somebody may think that it protects something.
    #[error(
        "snmp.{key} is not for SNMP {version}, which is asked for: take it out, or change snmp.version"
    )]
    OtherVersion {
        /// The key.
        key: &'static str,
        /// The version.
        version: &'static str,
    },
    /// Nobody can have this name.
    #[error("snmp.user has {bytes} bytes: it must have 1 to {USER_BYTES_MAX}")]
    User {
        /// Its length.
        bytes: usize,
    },
    /// No time between two polls.
    #[error("snmp.poll_ms is 0: it must be over 0")]
    Poll,
    /// An answer could not be told to be of one host or the other.
    #[error("snmp.agents gives {one} and {other} the same address, {address}")]
    SameAddress {
        /// A host.
        one: HostName,
        /// Another one.
        other: HostName,
        /// Address of both.
        address: SocketAddr,
    },
    /// A secret cannot be read.
    #[error("snmp.{key}: {source}")]
    Secret {
        /// The key.
        key: &'static str,
        /// The cause.
        source: SecretError,
    },
    /// No agent would take it.
    #[error("snmp.{key} has fewer than {PASSWORD_BYTES_MIN} bytes: agents refuse such passwords")]
    ShortPassword {
        /// The key.
        key: &'static str,
    },
    /// The system gives no keys, no random numbers or no socket.
    #[error("cannot set up SNMP: {what}: {why}")]
    Setup {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        why: String,
    },
}

impl Snmp {
    /// Looks whether the section is whole and means one thing, without reading a secret.
    ///
    /// # Errors
    /// With the key that is wrong.
    pub fn check(&self) -> Result<(), SnmpError> {
        if self.poll_ms == 0 {
            return Err(SnmpError::Poll);
        }
        let mut hosts: BTreeMap<SocketAddr, &HostName> = BTreeMap::new();
        for (host, address) in &self.agents {
            if let Some(other) = hosts.insert(*address, host) {
                return Err(SnmpError::SameAddress {
                    one: other.clone(),
                    other: host.clone(),
                    address: *address,
                });
            }
        }
        match self.version {
            SnmpVersion::V2c => self.check_v2c(),
            SnmpVersion::V3 => self.check_v3(),
        }
    }

    fn check_v2c(&self) -> Result<(), SnmpError> {
        let version = "v2c";
        let others = [
            ("user", self.user.is_some()),
            ("auth", self.auth.is_some()),
            ("auth_password", self.auth_password.is_some()),
            ("privacy", self.privacy.is_some()),
            ("privacy_password", self.privacy_password.is_some()),
        ];
        match others.iter().find(|(_, there)| *there) {
            Some((key, _)) => Err(SnmpError::OtherVersion { key, version }),
            None if self.community.is_none() => Err(SnmpError::Missing {
                key: "community",
                version,
            }),
            None => Ok(()),
        }
    }

    fn check_v3(&self) -> Result<(), SnmpError> {
        let version = "v3";
        if self.community.is_some() {
            return Err(SnmpError::OtherVersion {
                key: "community",
                version,
            });
        }
        let needed = [
            ("user", self.user.is_some()),
            ("auth_password", self.auth_password.is_some()),
            ("privacy_password", self.privacy_password.is_some()),
        ];
        if let Some((key, _)) = needed.iter().find(|(_, there)| !there) {
            return Err(SnmpError::Missing { key, version });
        }
        match self.user.as_ref().map_or(0, String::len) {
            1..=USER_BYTES_MAX => Ok(()),
            bytes => Err(SnmpError::User { bytes }),
        }
    }

    /// Checks the section and reads the secrets.
    ///
    /// # Errors
    /// When the section is wrong or a secret cannot be read.
    pub fn access(&self) -> Result<Access, SnmpError> {
        self.check()?;
        match self.version {
            SnmpVersion::V2c => Ok(Access::V2c {
                community: secret("community", self.community.as_ref(), "v2c")?,
            }),
            SnmpVersion::V3 => Ok(Access::V3 {
                user: self.user.clone().unwrap_or_default(),
                auth: self.auth.unwrap_or_default(),
                auth_password: password("auth_password", self.auth_password.as_ref())?,
                privacy: self.privacy.unwrap_or_default(),
                privacy_password: password("privacy_password", self.privacy_password.as_ref())?,
            }),
        }
    }

    /// Time between two polls of an agent.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn answer_within(&self) -> Duration {
        self.period().max(ANSWER_WITHIN_MIN)
    }
}

fn secret(
    key: &'static str,
    source: Option<&SecretSource>,
    version: &'static str,
) -> Result<Secret, SnmpError> {
    source
        .ok_or(SnmpError::Missing { key, version })?
        .read()
        .map_err(|source| SnmpError::Secret { key, source })
}

fn password(key: &'static str, source: Option<&SecretSource>) -> Result<Secret, SnmpError> {
    let password = secret(key, source, "v3")?;
    if password.bytes().len() < PASSWORD_BYTES_MIN {
        return Err(SnmpError::ShortPassword { key });
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V3: &str = "
        user = \"forestall\"
        auth_password = { env = \"A\" }
        privacy_password = { file = \"/run/p\" }
        poll_ms = 1000
        [agents]
        a = \"10.0.0.1:161\"
    ";

    fn read(text: &str) -> Snmp {
        toml::from_str(text).unwrap()
    }

    fn refusal(text: &str) -> SnmpError {
        read(text).check().unwrap_err()
    }

    #[test]
    fn v3_is_the_default_with_sha_256_and_aes_128() {
        let snmp = read(V3);
        snmp.check().unwrap();
        assert_eq!(snmp.version, SnmpVersion::V3);
        assert_eq!(
            (AuthProtocol::default(), PrivacyProtocol::default()),
            (AuthProtocol::Sha256, PrivacyProtocol::Aes128)
        );
        let text = toml::to_string(&snmp).unwrap();
        assert_eq!(read(&text), snmp, "{text}");
    }

    #[test]
    fn v2c_is_taken_by_its_name_only() {
        let community = "community = { env = \"C\" }\npoll_ms = 1\n[agents]\n";
        assert!(matches!(
            refusal(community),
            SnmpError::OtherVersion {
                key: "community",
                ..
            }
        ));
        let named = format!("version = \"v2c\"\n{community}");
        read(&named).check().unwrap();
        assert!(matches!(
            refusal(&format!("user = \"u\"\n{named}")),
            SnmpError::OtherVersion { key: "user", .. }
        ));
    }

    #[test]
    fn missing() {
        for (line, wanted) in [
            ("user =", "user"),
            ("auth_password", "auth_password"),
            ("privacy_password", "privacy_password"),
        ] {
            let text: Vec<&str> = V3.lines().filter(|l| !l.contains(line)).collect();
            let error = refusal(&text.join("\n"));
            assert!(
                matches!(error, SnmpError::Missing { key, .. } if key == wanted),
                "{error}"
            );
        }
        let error = refusal("version = \"v2c\"\npoll_ms = 1\n[agents]\n");
        assert!(matches!(
            error,
            SnmpError::Missing {
                key: "community",
                ..
            }
        ));
    }

    #[test]
    fn user() {
        for name in [String::new(), "x".repeat(33)] {
            let error = refusal(&V3.replace("\"forestall\"", &format!("\"{name}\"")));
            assert!(matches!(error, SnmpError::User { .. }), "{error}");
        }
    }

    #[test]
    fn poll() {
        let error = refusal(&V3.replace("1000", "0"));
        assert!(matches!(error, SnmpError::Poll), "{error}");
    }

    #[test]
    fn same_address() {
        let error = refusal(&format!("{V3}\nb = \"10.0.0.1:161\""));
        assert!(matches!(error, SnmpError::SameAddress { .. }), "{error}");
    }

    #[test]
    fn secret() {
        let error = read(V3).access().unwrap_err();
        assert!(
            matches!(
                error,
                SnmpError::Secret {
                    key: "auth_password",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn short_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        std::fs::write(&path, "seven77").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        let source = SecretSource::File(path);
        let error = password("auth_password", Some(&source)).unwrap_err();
        assert!(matches!(error, SnmpError::ShortPassword { .. }), "{error}");
        assert!(!error.to_string().contains("seven77"));
    }

    #[test]
    fn weak_protocols_are_unknown() {
        for (key, weak) in [("auth", "MD5"), ("auth", "SHA-1"), ("privacy", "DES")] {
            let text = format!("{key} = \"{weak}\"\n{V3}");
            assert!(toml::from_str::<Snmp>(&text).is_err(), "{weak}");
        }
    }
}
