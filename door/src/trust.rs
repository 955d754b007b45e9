//! TLS of a client: whom it believes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// The authorities whose word for a server's name is believed.
#[derive(Clone)]
pub struct Trust(TlsConnector);

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
        Ok(Self(TlsConnector::from(Arc::new(config))))
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
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, socket).await
    }
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
    use super::*;
    use crate::Tls;

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

    #[test]
    fn no_authorities() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Trust::read(Some(file.path())).unwrap_err();
        assert!(matches!(error, TrustError::Nobody { .. }), "{error}");
        let error = Trust::read(Some(Path::new("/no/such"))).unwrap_err();
        assert!(matches!(error, TrustError::Read { .. }), "{error}");
    }
}
