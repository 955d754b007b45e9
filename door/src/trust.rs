//! TLS of a client: whom it believes.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore};

use crate::Encrypted;

/// The authorities whose word for a server's name is believed.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust(…)")
    }
}

/// Why nobody can be believed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is not PEM.
    #[error("cannot read certificates of authorities from {path}; it has to be a PEM file")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// There is none that can be used.
    #[error("{place} has no certificate of an authority that can be used")]
    Nobody {
        /// Where they were looked for.
        place: String,
    },
    /// There is no TLS to be had.
    #[error("TLS cannot be used")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// Believes the authorities in a PEM file, or where there is none those that this system believes.
    ///
    /// # Errors
    /// When there are none.
    pub fn read(authorities: Option<&Path>) -> Result<Self, TrustError> {
        let (found, place) = match authorities {
            Some(path) => (read(path)?, path.display().to_string()),
            None => (
                // Some that cannot be read are no reason not to use the others.
                rustls_native_certs::load_native_certs().certs,
                "this system".to_owned(),
            ),
        };
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(found).0 == 0 {
            return Err(TrustError::Nobody { place });
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Encrypts a connection, once the other end has proved that it is `name`, a name or an IP address.
    ///
    /// # Errors
    /// When it has not, or the connection fails.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        name: &str,
        socket: S,
    ) -> io::Result<TlsStream<S>> {
        let connector = TlsConnector::from(Arc::clone(&self.0));
        connector.connect(server_name(name)?, socket).await
    }

    /// The same for a thread that waits: until `wait` is over for the other end's proof, and then as the socket does. The
    /// socket has some time-out for reading afterwards.
    ///
    /// # Errors
    /// When the other end has not proved its name in time, or the connection fails.
    pub fn connect_and_wait(
        &self,
        name: &str,
        socket: TcpStream,
        wait: Duration,
    ) -> io::Result<Encrypted> {
        let tls = ClientConnection::new(Arc::clone(&self.0), server_name(name)?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Encrypted::shake_hands(tls, socket, wait)
    }
}

fn server_name(name: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TrustError::Read {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::Tls;

    const WAIT: Duration = Duration::from_secs(10);

    /// A server's certificate and key in files; it is its own authority.
    fn pair(name: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (folder, certificate, key)
    }

    /// Whether a client of `trust` that asks for `name` gets through to a server that has this pair.
    async fn gets_through(trust: &Trust, name: &str, certificate: &Path, key: &Path) -> bool {
        let (near, far) = tokio::io::duplex(1 << 16);
        let tls = Tls::read(certificate, key).unwrap();
        let (client, server) = tokio::join!(trust.connect(name, near), tls.accept(far));
        client.is_ok() && server.is_ok()
    }

    #[tokio::test]
    async fn who_proves_its_name_is_believed() {
        let (_folder, certificate, key) = pair("edge.example");
        let (_other_folder, other, other_key) = pair("edge.example");
        let trust = Trust::read(Some(&certificate)).unwrap();
        assert!(gets_through(&trust, "edge.example", &certificate, &key).await);
        assert!(!gets_through(&trust, "other.example", &certificate, &key).await);
        assert!(!gets_through(&trust, "edge.example", &other, &other_key).await);
    }

    /// What a client that waits gets back of what it says to a server that repeats it, and ends then; or why it gets nothing.
    async fn echo(
        trust: Trust,
        name: &'static str,
        certificate: &Path,
        key: &Path,
    ) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = tokio::task::spawn_blocking(move || {
            let socket = TcpStream::connect(address)?;
            let mut encrypted = trust.connect_and_wait(name, socket, WAIT)?;
            // More than fits into a record, or into what waits to be sent.
            let long = "x".repeat(300_000);
            encrypted.write_all(long.as_bytes())?;
            let mut said = Vec::new();
            while said.len() < long.len() {
                let mut piece = [0; 5000];
                match encrypted.read(&mut piece) {
                    Ok(0) => break,
                    Ok(length) => said.extend_from_slice(&piece[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            assert_eq!(said, long.as_bytes());
            loop {
                match encrypted.read(&mut [0]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    ended => return ended.map(|length| format!("{length} more")),
                }
            }
        });
        let (socket, _) = listener.accept().await.unwrap();
        let tls = Tls::read(certificate, key).unwrap();
        if let Ok(mut server) = tls.accept(socket).await {
            let mut said = vec![0; 300_000];
            server.read_exact(&mut said).await.unwrap();
            server.write_all(&said).await.unwrap();
            server.shutdown().await.unwrap();
        }
        client.await.unwrap()
    }

    #[tokio::test]
    async fn a_thread_that_waits_is_served_too() {
        let (_folder, certificate, key) = pair("edge.example");
        let (_other_folder, other, other_key) = pair("edge.example");
        let trust = Trust::read(Some(&certificate)).unwrap();
        let said = echo(trust.clone(), "edge.example", &certificate, &key).await;
        assert_eq!(said.unwrap(), "0 more");
        let wrong_name = echo(trust.clone(), "other.example", &certificate, &key).await;
        assert_eq!(wrong_name.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let wrong_server = echo(trust, "edge.example", &other, &other_key).await;
        assert_eq!(wrong_server.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for() {
        let (_folder, certificate, _) = pair("edge.example");
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(silent.local_addr().unwrap()).unwrap();
        let trust = Trust::read(Some(&certificate)).unwrap();
        let wait = Duration::from_millis(50);
        let error = trust.connect_and_wait("edge.example", socket, wait);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn no_authorities() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Trust::read(Some(file.path())).unwrap_err();
        assert!(matches!(error, TrustError::Nobody { .. }), "{error}");
        let error = Trust::read(Some(Path::new("/no/such"))).unwrap_err();
        assert!(matches!(error, TrustError::Read { .. }), "{error}");
    }
}
