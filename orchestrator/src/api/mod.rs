//! What an orchestrator answers to: HTTP with JSON, on a unix socket, on this machine's loopback, or with tokens and TLS on any
//! address.
//!
//! `settings.rs` is what a configuration says of it, `listen.rs` where it answers; `access.rs` has the tokens and TLS of that.
//! A request comes in by `connection.rs`, which bounds what a connection may hold, passes `guard.rs`, which says whose request is
//! answered, and `envelope.rs`, which has the whole of it read first. `routes.rs` says what is answered to which request,
//! `metrics.rs` writes figures as Prometheus reads them, `page/` is the dashboard. What is asked of the loop goes to it as a
//! request and comes back when its turn is over; history is read from the journal beside it.

mod access;
mod connection;
mod envelope;
#[cfg(test)]
mod example;
#[cfg(test)]
mod fuzz;
mod guard;
mod listen;
mod metrics;
mod routes;
mod settings;
mod socket;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::run::Request;
use connection::{Bounds, accept};
use guard::Guard;

pub use access::{Access, AccessError};
pub use listen::{Listen, ListenError, Places};
pub use routes::{Explained, FunctionStatus, HostStatus, Recommended, Status};
pub use settings::{Api, ApiSettingsError, NoTokenSettings, Right, TlsSettings, TokenSettings};

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
#[derive(Debug, Default)]
pub(crate) struct Serving {
    tasks: JoinSet<()>,
    /// Its sockets, to be taken away.
    sockets: Vec<PathBuf>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // The next one clears it away otherwise.
            fs::remove_file(socket).ok();
        }
    }
}

/// Begins to answer at every place.
///
/// # Errors
/// When one cannot be had.
pub(crate) async fn start(
    api: &Api,
    access: &Access,
    journal: &Path,
    requests: mpsc::Sender<Request>,
) -> Result<Serving, ApiError> {
    let routes = routes::router(journal.to_owned(), requests);
    let guarded = |guard| guarded(routes.clone(), guard);
    let mut serving = Serving::default();
    for listen in api.listen.iter() {
        match listen {
            // Its file's mode says who gets here.
            Listen::Unix(path) => {
                let listener = socket::bind(listen, path).await?;
                serving.sockets.push(path.clone());
                let router = guarded(Guard::here(None));
                let serve = accept(listener, None, router, Bounds::default());
                serving.tasks.spawn(serve);
            }
            Listen::Tcp(address) => {
                let bound = TcpListener::bind(*address).await;
                let listener = bound.map_err(|source| ApiError::Listen {
                    listen: listen.clone(),
                    source,
                })?;
                // Answers are written whole: nothing is gained by waiting for more.
                let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
                let tokens = access.tokens.clone();
                let router = guarded(match listen.reached_by_others() {
                    Some(_) => Guard::open(tokens),
                    None => Guard::here(tokens),
                });
                let serve = accept(listener, access.tls.clone(), router, Bounds::default());
                serving.tasks.spawn(serve);
            }
        }
    }
    Ok(serving)
}

/// What a request passes on its way, and an answer on its way back.
fn guarded(routes: Router, guard: Guard) -> Router {
    routes
        .layer(from_fn(envelope::whole))
        .layer(from_fn_with_state(guard, guard::guard))
        .layer(from_fn(envelope::answer))
}
