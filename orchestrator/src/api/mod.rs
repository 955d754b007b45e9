//! What an orchestrator answers to: HTTP with JSON, on a unix socket or on this machine's loopback.
//!
//! `routes.rs` says what is answered to which request, `metrics.rs` writes figures as Prometheus reads them, `page/` is the
//! dashboard. What is asked of the loop goes to it as a request and comes back when its turn is over; history is read from the
//! journal beside it.

mod listen;
mod metrics;
mod routes;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::Api;
use crate::run::Request;

pub use listen::{Listen, ListenError};
pub use routes::{Explained, FunctionStatus, Recommended, Status};

/// Owner and group may use the socket: it gives every right.
const SOCKET_MODE: u32 = 0o660;

/// Why nobody can be answered.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The socket cannot be made.
    #[error("cannot answer on {listen}: {source}")]
    Listen {
        /// Where.
        listen: Listen,
        /// The cause.
        source: io::Error,
    },
    /// Somebody answers there already.
    #[error("cannot answer on {listen}: another process answers there already")]
    Taken {
        /// Where.
        listen: Listen,
    },
}

/// An API that answers until this is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    task: JoinHandle<()>,
    /// Its socket, to be taken away.
    socket: Option<PathBuf>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(socket) = &self.socket {
            // The next one clears it away otherwise.
            fs::remove_file(socket).ok();
        }
    }
}

/// Begins to answer.
///
/// # Errors
/// When the address cannot be had.
pub(crate) async fn start(
    api: &Api,
    journal: &Path,
    requests: mpsc::Sender<Request>,
) -> Result<Serving, ApiError> {
    let listen = &api.listen;
    let failed = |source| ApiError::Listen {
        listen: listen.clone(),
        source,
    };
    let router = routes::router(journal.to_owned(), requests);
    let said = |ended: io::Result<()>| {
        if let Err(error) = ended {
            eprintln!("api: {error}");
        }
    };
    match listen {
        Listen::Unix(path) => {
            let listener = bind(listen, path).await?;
            let task = tokio::spawn(async move { said(axum::serve(listener, router).await) });
            Ok(Serving {
                task,
                socket: Some(path.clone()),
            })
        }
        Listen::Loopback(address) => {
            let listener = TcpListener::bind(*address).await.map_err(failed)?;
            let task = tokio::spawn(async move { said(axum::serve(listener, router).await) });
            Ok(Serving { task, socket: None })
        }
    }
}

/// A socket that a killed orchestrator left is taken away, one at which somebody answers is not.
async fn bind(listen: &Listen, path: &Path) -> Result<UnixListener, ApiError> {
    let failed = |source| ApiError::Listen {
        listen: listen.clone(),
        source,
    };
    match UnixStream::connect(path).await {
        Ok(_) => {
            return Err(ApiError::Taken {
                listen: listen.clone(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    Ok(listener)
}
