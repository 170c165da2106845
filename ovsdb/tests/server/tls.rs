//! TLS with certificates of `ovs-pki` and `openssl`, and TCP over IPv6.

use std::net::{Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use weft_ovsdb::client::{Client, Options};
use weft_ovsdb::session::Config;
use weft_ovsdb::tls::Tls;
use weft_schemas::nb;

use crate::harness::*;

/// A port that nobody uses at the moment.
fn free_port(address: &str) -> u16 {
    TcpListener::bind((address, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn openssl(dir: &Path, line: &str) {
    let output = std::process::Command::new("openssl")
        .args(line.split_whitespace())
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "openssl {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A CA and a signed certificate of version 3 for `server` and `client`, of version 1 for `old`.
fn certificates(dir: &Path) {
    openssl(
        dir,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
    );
    std::fs::write(dir.join("ext"), "basicConstraints=CA:FALSE\n").unwrap();
    for name in ["server", "client", "old"] {
        openssl(
            dir,
            &format!(
                "req -newkey rsa:2048 -nodes -subj /CN={name}.invalid -keyout {name}.key -out {name}.csr"
            ),
        );
        let extensions = if name == "old" { "" } else { "-extfile ext" };
        openssl(
            dir,
            &format!(
                "x509 -req -days 2 -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem {extensions}"
            ),
        );
    }
}

fn server_args(dir: &Path, name: &str, port: u16) -> Vec<String> {
    let file = |file: &str| dir.join(file).display().to_string();
    vec![
        format!("--remote=pssl:{port}:127.0.0.1"),
        format!("--private-key={}", file(&format!("{name}.key"))),
        format!("--certificate={}", file(&format!("{name}.pem"))),
        format!("--ca-cert={}", file("ca.pem")),
        format!("--peer-ca-cert={}", file("ca.pem")),
    ]
}

fn tls(dir: &Path, name: &str, ca: PathBuf) -> Tls {
    let (private_key, certificate) = (
        dir.join(format!("{name}.key")),
        dir.join(format!("{name}.pem")),
    );
    Tls {
        private_key,
        certificate,
        ca,
        bootstrap: false,
    }
}

async fn refusal(port: u16, tls: Option<Tls>) -> String {
    let options = Options {
        tls,
        ..Options::default()
    };
    match Client::connect(&format!("ssl:127.0.0.1:{port}").parse().unwrap(), &options).await {
        Ok(mut client) => client.list_databases().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn chains_are_checked_names_are_not() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    certificates(path);
    let port = free_port("127.0.0.1");
    let server = Server::standalone(&dir, &server_args(path, "server", port)).await;
    server.add_switch("s");
    let mut config = Config::new::<nb::Db>(format!("ssl:127.0.0.1:{port}").parse().unwrap());
    config.tls = Some(tls(path, "client", path.join("ca.pem")));
    let mut replica = Replica::start(config);
    replica
        .until("a protected connection", |r| r.switches() == ["s"])
        .await;

    // The CA certificate is fetched from the peer, then checked against.
    let fetched = path.join("fetched.pem");
    let bootstrap = Tls {
        bootstrap: true,
        ..tls(path, "client", fetched.clone())
    };
    let options = Options {
        tls: Some(bootstrap),
        timeout: Some(DEADLINE),
        ..Options::default()
    };
    let mut client = Client::connect(&format!("ssl:127.0.0.1:{port}").parse().unwrap(), &options)
        .await
        .unwrap();
    client.list_databases().await.unwrap();
    let same = |file: &Path| {
        tool(
            "openssl",
            &[
                "x509",
                "-fingerprint",
                "-noout",
                "-in",
                file.to_str().unwrap(),
            ],
        )
    };
    assert_eq!(same(&fetched), same(&path.join("ca.pem")));

    openssl(
        path,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other.key -out other.pem",
    );
    let text = refusal(port, Some(tls(path, "client", path.join("other.pem")))).await;
    assert!(text.contains("not signed by a CA"), "{text}");
    let text = refusal(port, None).await;
    assert!(text.contains("private key, certificate and CA"), "{text}");
    let text = refusal(port, Some(tls(path, "absent", path.join("ca.pem")))).await;
    assert!(text.contains("absent.pem"), "{text}");
}

#[tokio::test]
async fn version_one_certificates_are_named() {
    let dir = TempDir::new().unwrap();
    certificates(dir.path());
    let port = free_port("127.0.0.1");
    let _server = Server::standalone(&dir, &server_args(dir.path(), "old", port)).await;
    let text = refusal(
        port,
        Some(tls(dir.path(), "client", dir.path().join("ca.pem"))),
    )
    .await;
    assert!(
        text.contains("peer's certificate") && text.contains("X.509 version 1"),
        "{text}"
    );
}

#[tokio::test]
async fn certificates_of_ovs_pki() {
    let dir = TempDir::new().unwrap();
    let path = dir.path();
    let pki = |args: &[&str]| {
        let mut command = std::process::Command::new("ovs-pki");
        command
            .arg(format!("--dir={}/pki", path.display()))
            .args(args)
            .current_dir(path);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    pki(&["init"]);
    for name in ["server", "client"] {
        pki(&["-b", "-u", "req+sign", name, "switch"]);
        std::fs::rename(
            path.join(format!("{name}-privkey.pem")),
            path.join(format!("{name}.key")),
        )
        .unwrap();
        std::fs::rename(
            path.join(format!("{name}-cert.pem")),
            path.join(format!("{name}.pem")),
        )
        .unwrap();
    }
    std::fs::copy(path.join("pki/switchca/cacert.pem"), path.join("ca.pem")).unwrap();
    let port = free_port("127.0.0.1");
    let server = Server::standalone(&dir, &server_args(path, "server", port)).await;
    server.add_switch("s");
    let mut config = Config::new::<nb::Db>(format!("ssl:127.0.0.1:{port}").parse().unwrap());
    config.tls = Some(tls(path, "client", path.join("ca.pem")));
    let mut replica = Replica::start(config);
    replica
        .until("a protected connection", |r| r.switches() == ["s"])
        .await;
}

#[tokio::test]
async fn ipv6_and_failover() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return; // No IPv6 on this machine.
    }
    let dir = TempDir::new().unwrap();
    let port = free_port("::1");
    let server = Server::standalone(
        &dir,
        &[
            format!("--remote=ptcp:{port}:[::1]"),
            format!("--remote=ptcp:{port}:127.0.0.1"),
        ],
    )
    .await;
    server.add_switch("s");
    let dead = free_port("127.0.0.1");
    let mut replica = Replica::on(
        format!("tcp:127.0.0.1:{dead},tcp:[::1]:{port}")
            .parse()
            .unwrap(),
    );
    replica
        .until("the second remote", |r| r.switches() == ["s"])
        .await;
    let mut named = Replica::on(format!("tcp:localhost:{port}").parse().unwrap());
    named.until("a host name", |r| r.switches() == ["s"]).await;
}
