//! Certificates of an authority that nobody else knows.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Names of a folder's files: the authority's certificate, and certificate and key of an end, which is a `server` or a `client`.
pub(crate) type Files = [&'static str; 3];
/// As QEMU's `tls-creds-x509` looks for them.
pub(crate) const QEMU: Files = ["ca-cert.pem", "END-cert.pem", "END-key.pem"];
/// As libvirt's `pkipath` has them.
pub(crate) const LIBVIRT: Files = ["cacert.pem", "ENDcert.pem", "ENDkey.pem"];

/// It signs certificates.
pub(crate) struct Authority {
    /// Its own, by which it is believed.
    pub(crate) certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut own = params(name);
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            certificate: own.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(own, key),
        }
    }

    /// Puts what a peer of this name or address needs into a folder: as a server and as a client.
    pub(crate) fn write(&self, folder: &Path, peer: &str, [own, certificate, key]: Files) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(own), &self.certificate).unwrap();
        for end in ["server", "client"] {
            let pair = KeyPair::generate().unwrap();
            let signed = params(peer).signed_by(&pair, &self.issuer).unwrap();
            let file = |name: &str| folder.join(name.replace("END", end));
            fs::write(file(certificate), signed.pem()).unwrap();
            fs::write(file(key), pair.serialize_pem()).unwrap();
        }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
