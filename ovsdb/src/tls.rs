//! TLS as Open vSwitch peers use it: both sides show a certificate, the chain is checked, the host name is not.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Key, certificate and CA: options `-p`, `-c`, `-C` and `--bootstrap-ca-cert`. Files are read at every connection, so
/// renewed certificates are taken up by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with our private key.
    pub private_key: PathBuf,
    /// PEM file with our certificate, intermediate ones after it.
    pub certificate: PathBuf,
    /// PEM file with the certificates of the CAs that may sign the peer's.
    pub ca: PathBuf,
    /// If `ca` does not exist: trust the first peer and keep the CA certificate it sends.
    pub bootstrap: bool,
}

/// What is wrong with certificates or handshake.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has no such PEM block.
    #[error("{file}: {reason}", file = .file.display())]
    File {
        /// Its name.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate in a form that is not supported: X.509 version 1, or not a certificate.
    #[error("{whose} is refused: {reason}")]
    Certificate {
        /// Our certificate (with file name), or the peer's.
        whose: String,
        /// Why.
        reason: String,
    },
    /// The peer sent no CA certificate to keep.
    #[error(
        "the peer sent no self-signed CA certificate, so --bootstrap-ca-cert cannot work with it"
    )]
    NothingToBootstrap,
    /// The handshake failed for another reason.
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    /// Key and certificate cannot be used.
    #[error("TLS configuration: {0}")]
    Config(rustls::Error),
}

impl Tls {
    /// The CA certificate has yet to be fetched.
    pub(crate) fn must_bootstrap(&self) -> bool {
        self.bootstrap && !self.ca.exists()
    }
}

fn file_error(file: &Path, reason: impl ToString) -> TlsError {
    TlsError::File {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .map_err(|e| file_error(file, e))?
        .collect();
    let found = read.map_err(|e| file_error(file, e))?;
    if found.is_empty() {
        Err(file_error(file, "holds no certificate"))
    } else {
        Ok(found)
    }
}

/// What rustls says about a certificate, in words an operator can act on.
fn explain(whose: &str, error: &rustls::Error) -> Option<TlsError> {
    let text = format!("{error:?}");
    let reason = if text.contains("UnsupportedCertVersion") {
        "it is an X.509 version 1 certificate; version 3 is needed (add an extension when signing, for instance with \
         -extfile or -copy_extensions, or use ovs-pki)"
            .to_owned()
    } else if text.contains("CaUsedAsEndEntity") {
        "it is a CA certificate used as the certificate of a host; sign a certificate of its own for the host".to_owned()
    } else {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                "it is not signed by a CA that we were told to trust".to_owned()
            }
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => "it has expired".to_owned(),
            rustls::Error::InvalidCertificate(other) => other.to_string(),
            _ => return None,
        }
    };
    Some(TlsError::Certificate {
        whose: whose.to_owned(),
        reason,
    })
}

fn config(tls: &Tls, verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, TlsError> {
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.private_key)
        .map_err(|e| file_error(&tls.private_key, e))?;
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map_err(|error| {
            let whose = format!("our certificate {}", tls.certificate.display());
            explain(&whose, &error).unwrap_or(TlsError::Config(error))
        })
}

/// The name is only sent as SNI, never checked; anything that is no name or address will do.
fn server_name(host: &str) -> ServerName<'static> {
    let bare = host.split('%').next().unwrap_or(host).to_owned();
    ServerName::try_from(bare)
        .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// Opens TLS on a fresh stream and checks the peer's chain.
pub(crate) async fn handshake(
    tls: &Tls,
    stream: TcpStream,
    host: &str,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate).map_err(|error| {
            let whose = format!("CA certificate {}", tls.ca.display());
            explain(&whose, &error).unwrap_or(TlsError::Config(error))
        })?;
    }
    let verifier = Verifier::new(Trust::Chain(roots));
    connect(config(tls, verifier)?, stream, host).await
}

async fn connect(
    config: ClientConfig,
    stream: TcpStream,
    host: &str,
) -> Result<TlsStream<TcpStream>, TlsError> {
    TlsConnector::from(Arc::new(config))
        .connect(server_name(host), stream)
        .await
        .map_err(|error| {
            let inner = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            inner
                .and_then(|inner| explain("the peer's certificate", inner))
                .unwrap_or(TlsError::Handshake(error))
        })
}

/// Fetches the CA certificate that the peer sends at the end of its chain, and keeps it in the file `tls.ca`.
pub(crate) async fn bootstrap(tls: &Tls, stream: TcpStream, host: &str) -> Result<(), TlsError> {
    let seen = Arc::new(Mutex::new(None));
    let verifier = Verifier::new(Trust::KeepLast(Arc::clone(&seen)));
    // The peer may refuse us only after its certificates have been seen: what counts is what came.
    let outcome = connect(config(tls, verifier)?, stream, host).await;
    let last = seen.lock().expect("nobody panics with this lock").take();
    let Some(certificate) = last else {
        outcome?;
        return Err(TlsError::NothingToBootstrap);
    };
    let mut trial = RootCertStore::empty();
    trial
        .add(CertificateDer::from(certificate.clone()))
        .map_err(|_| TlsError::NothingToBootstrap)?;
    write_pem(&tls.ca, &certificate).map_err(|e| file_error(&tls.ca, e))?;
    tracing::info!(
        "kept the CA certificate that {host} sent in {}",
        tls.ca.display()
    );
    Ok(())
}

/// Never overwrites: somebody else may have bootstrapped meanwhile, and the first one counts.
fn write_pem(file: &Path, der: &[u8]) -> io::Result<()> {
    let mut out = match fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
    {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
    let text = BASE64_STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&b| char::from(b)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    out.write_all(pem.as_bytes())?;
    out.sync_all()
}

/// What is asked of the server's certificate.
#[derive(Debug)]
enum Trust {
    /// The chain and the dates, not the host name.
    Chain(RootCertStore),
    /// Any chain of more than one certificate, whose last is kept: the first contact of `--bootstrap-ca-cert`, whose risk
    /// ovs-vswitchd(8) describes.
    KeepLast(Arc<Mutex<Option<Vec<u8>>>>),
}

/// Checks a certificate as [`Trust`] says, and always that the peer holds its key.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(trust: Trust) -> Arc<Self> {
        let provider = Arc::new(ring::default_provider());
        Arc::new(Verifier { trust, provider })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Chain(roots) => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.provider.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(
                    &certificate,
                    roots,
                    intermediates,
                    now,
                    algorithms,
                )?;
            }
            Trust::KeepLast(seen) => {
                *seen.lock().expect("nobody panics with this lock") =
                    intermediates.last().map(|last| last.to_vec());
            }
        }
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
