//! Where an orchestrator is, and what there is to show to it.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;
use orchestrator::client::{Address, Client, ClientError, Credentials};
use orchestrator::snmp::SecretSource;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A token, for who has no file.
const TOKEN_VARIABLE: &str = "FORESTALL_TOKEN";

/// Where the orchestrator is, and how to answer.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// Where the orchestrator answers, as in the [api] of its configuration: unix:PATH, 127.0.0.1:PORT, or https://HOST:PORT
    #[arg(
        long,
        value_name = "PLACE",
        env = "FORESTALL_API",
        default_value = "unix:/run/forestall/api.sock"
    )]
    api: Address,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    authorities: Authorities,
    /// Print the orchestrator's answer as JSON
    #[arg(long)]
    json: bool,
}

/// Whom those behind `https://` have to be vouched for by, an orchestrator as well as a server of streams.
#[derive(Clone, Debug, Args)]
pub(crate) struct Authorities {
    /// Certificates of the authorities that vouch for who answers at https:// (PEM) [default: those of this system]
    #[arg(long, value_name = "FILE", env = "FORESTALL_CA")]
    pub(crate) ca: Option<PathBuf>,
}

/// What is shown to an orchestrator.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shown {
    /// File with the token for an orchestrator that wants one, which others may not read; or the token in FORESTALL_TOKEN
    #[arg(long, value_name = "FILE", env = "FORESTALL_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Shown {
    /// The way to the orchestrator at `address`.
    pub(crate) fn client(
        &self,
        address: Address,
        authorities: &Authorities,
    ) -> Result<Client, ClientError> {
        // Not an option of the command line, which others on the machine can read.
        let variable = || {
            let is_set = std::env::var_os(TOKEN_VARIABLE).is_some();
            is_set.then(|| SecretSource::Env(TOKEN_VARIABLE.into()))
        };
        let credentials = Credentials {
            token: self
                .token_file
                .clone()
                .map(SecretSource::File)
                .or_else(variable),
            authorities: authorities.ca.clone(),
        };
        Client::new(address, &credentials)
    }
}

impl Place {
    pub(crate) fn client(&self) -> Result<Client, ClientError> {
        self.shown.client(self.api.clone(), &self.authorities)
    }

    fn print<T: Serialize>(
        &self,
        answer: &T,
        words: impl FnOnce(&T) -> String,
    ) -> Result<(), ClientError> {
        let text = if self.json {
            serde_json::to_string_pretty(answer).map_err(|error| ClientError::NotOurs {
                address: self.api.clone(),
                why: error.to_string(),
            })?
        } else {
            words(answer)
        };
        match writeln!(std::io::stdout(), "{}", text.trim_end()) {
            // Who reads it has read enough (`| head`).
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(ClientError::Refused {
                why: format!("cannot print the answer: {error}"),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) async fn show<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        words: impl FnOnce(&T) -> String,
    ) -> Result<(), ClientError> {
        let answer = self.client()?.get(path).await?;
        self.print(&answer, words)
    }

    pub(crate) async fn change<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        body: &impl Serialize,
        words: impl FnOnce(&T) -> String,
    ) -> Result<(), ClientError> {
        let answer = self.client()?.post(path, body).await?;
        self.print(&answer, words)
    }
}
