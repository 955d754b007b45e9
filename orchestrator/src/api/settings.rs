//! What a configuration says of the API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::{Listen, Places};
use crate::snmp::SecretSource;

/// Tokens of one orchestrator; all are compared with each that is given.
const TOKENS_MAX: usize = 64;

/// Where an orchestrator answers, and whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// `unix:PATH`, a socket that its owner and group may use, or `ADDRESS:PORT`; one place or a list.
    pub listen: Places,
    /// By name: who may do what over an address. Without any, whoever reaches it may do everything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, TokenSettings>,
    /// Encrypts what goes over an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Says what a viewer sees, and nothing else: who watches a video is not one who moves its function.
    Report,
    /// Sees everything, changes nothing.
    Read,
    /// Does what a person can do.
    Operate,
}

impl Right {
    /// Whether it is good for what needs `needed`.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self == needed || self == Self::Operate
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenToken")]
pub struct TokenSettings {
    /// What it is good for.
    pub right: Right,
    /// Where it stands.
    pub token: SecretSource,
}

/// Certificate and key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The server's certificate, and then those between it and an authority.
    pub certificate: PathBuf,
    /// Its private key, which others may not read.
    pub key: PathBuf,
}

/// Whatever stands where a token's settings should: a token itself, as likely as not, which no error may repeat.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenToken {
    Settings(WrittenSettings),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSettings {
    right: Right,
    token: SecretSource,
}

/// It is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token is written {{ right = \"read\", \"operate\" or \"report\", token = {{ file = \"PATH\" }} or {{ env = \"NAME\" }} }}; it does not \
     stand in a configuration itself"
)]
pub struct NoTokenSettings;

impl TryFrom<WrittenToken> for TokenSettings {
    type Error = NoTokenSettings;

    fn try_from(written: WrittenToken) -> Result<Self, NoTokenSettings> {
        match written {
            WrittenToken::Settings(WrittenSettings { right, token }) => Ok(Self { right, token }),
            WrittenToken::Other(IgnoredAny) => Err(NoTokenSettings),
        }
    }
}

/// Why settings are not safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiSettingsError {
    /// Others would reach it.
    #[error(
        "api.listen: {address} is reached from other machines, and whoever reaches the API may move functions. That takes \
         tokens ([api.tokens]) and TLS ([api.tls]), and there is no {missing}; or listen on 127.0.0.1 or a unix socket"
    )]
    Unprotected {
        /// The address.
        address: SocketAddr,
        /// What is not there.
        missing: &'static str,
    },
    /// Too many tokens.
    #[error("api.tokens has {0} tokens; it takes up to {TOKENS_MAX}")]
    Tokens(usize),
}

impl Api {
    /// Answers there, without tokens and TLS.
    #[must_use]
    pub fn at(listen: Listen) -> Self {
        Self {
            listen: listen.into(),
            tokens: BTreeMap::new(),
            tls: None,
        }
    }

    /// Whether it may be used as it is.
    ///
    /// # Errors
    /// When others would reach it who may not.
    pub fn check(&self) -> Result<(), ApiSettingsError> {
        if self.tokens.len() > TOKENS_MAX {
            return Err(ApiSettingsError::Tokens(self.tokens.len()));
        }
        let missing = match (self.tokens.is_empty(), self.tls.is_none()) {
            (true, true) => "token and no TLS",
            (true, false) => "token",
            (false, true) => "TLS",
            (false, false) => return Ok(()),
        };
        match self.listen.iter().find_map(Listen::reached_by_others) {
            Some(address) => Err(ApiSettingsError::Unprotected { address, missing }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: &str = "[tokens.ops]\nright = \"operate\"\ntoken = { file = \"/t\" }\n";
    const TLS: &str = "[tls]\ncertificate = \"/c\"\nkey = \"/k\"\n";

    fn api(text: &str) -> Api {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn unprotected() {
        let check = |listen: &str, more: &str| api(&format!("listen = {listen}\n{more}")).check();
        let both = format!("{TOKENS}{TLS}");
        for here in [
            "\"unix:/s\"",
            "\"127.0.0.1:1\"",
            "[\"unix:/s\", \"[::1]:1\"]",
        ] {
            for more in ["", TOKENS, TLS, &both] {
                assert_eq!(check(here, more), Ok(()), "{here} {more}");
            }
        }
        for there in ["\"0.0.0.0:1\"", "[\"unix:/s\", \"192.0.2.1:1\"]"] {
            assert_eq!(check(there, &both), Ok(()), "{there}");
            for (more, words) in [
                ("", "there is no token and no TLS"),
                (TOKENS, "there is no TLS"),
                (TLS, "there is no token;"),
            ] {
                let error = check(there, more).unwrap_err();
                assert!(matches!(error, ApiSettingsError::Unprotected { .. }));
                assert!(error.to_string().contains(words), "{error}");
            }
        }
    }

    #[test]
    fn tokens() {
        let mut many = api("listen = \"unix:/s\"");
        let one = api(&format!("listen = \"unix:/s\"\n{TOKENS}")).tokens["ops"].clone();
        many.tokens = (0..=TOKENS_MAX)
            .map(|i| (i.to_string(), one.clone()))
            .collect();
        assert_eq!(many.check(), Err(ApiSettingsError::Tokens(TOKENS_MAX + 1)));
    }

    #[test]
    fn round_trip() {
        let said = api(&format!("listen = \"0.0.0.0:1\"\n{TOKENS}{TLS}"));
        assert_eq!(said.tokens["ops"].right, Right::Operate);
        assert_eq!(api(&toml::to_string(&said).unwrap()), said);
    }

    #[test]
    fn a_token_in_the_configuration_is_refused_without_repeating_it() {
        for wrong in [
            "tokens.ops = \"canary-7\"",
            "tokens.ops = 77777",
            "tokens.ops = { right = \"read\", token = \"canary-7\" }",
            "tokens.ops = { right = \"canary-7\", token = { file = \"a\" } }",
            "tokens.ops = { right = \"read\", token = { file = \"a\" }, canary-7 = 1 }",
            "tokens.ops = [\"canary-7\"]",
        ] {
            let text = format!("listen = \"unix:/s\"\n{wrong}");
            let error = toml::from_str::<Api>(&text).unwrap_err();
            // `Config::read` gives no more of an error than this.
            let said = error.message();
            assert!(
                !said.contains("canary") && !said.contains("77777"),
                "{said}"
            );
            assert!(said.contains("does not stand in a configuration"), "{said}");
        }
    }
}
