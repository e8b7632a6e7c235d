//! TLS for the tests: an authority and its certificates, made at test time by the `openssl` program, and the settings
//! that make the real servers speak TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::servers::{Kind, Options};
use super::temp::TempDir;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

/// How a real server is set up for TLS.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub kind: Kind,
    /// The only version it speaks; none for all that it knows.
    pub version: Option<Version>,
    /// vsftpd's `strict_ssl_read_eof` and `strict_ssl_write_shutdown`.
    pub strict: bool,
}

impl Variant {
    /// Whether this server lets in only data connections that resume a session.
    pub fn demands_resumption(self) -> bool {
        matches!(self.kind, Kind::Vsftpd | Kind::Proftpd)
    }

    /// Settings for a server that shows this certificate.
    pub fn options(self, shown: &Shown) -> Options {
        let (cert, key) = (shown.cert.display(), shown.key.display());
        let strict = if self.strict { "YES" } else { "NO" };
        let extra = match self.kind {
            Kind::Vsftpd => vec![
                "ssl_enable=YES".into(),
                "allow_anon_ssl=YES".into(),
                "force_anon_logins_ssl=YES".into(),
                "force_anon_data_ssl=YES".into(),
                "ssl_tlsv1=YES".into(),
                "ssl_ciphers=HIGH".into(),
                "require_ssl_reuse=YES".into(),
                format!("strict_ssl_read_eof={strict}"),
                format!("strict_ssl_write_shutdown={strict}"),
                format!("rsa_cert_file={cert}"),
                format!("rsa_private_key_file={key}"),
            ],
            Kind::Proftpd => {
                let modules = installed("servers/debian/usr/lib/proftpd");
                let protocol = match self.version {
                    None => "TLSv1.2 TLSv1.3",
                    Some(Version::Tls12) => "TLSv1.2",
                    Some(Version::Tls13) => "TLSv1.3",
                };
                vec![
                    format!("ModulePath {}", modules.display()),
                    "LoadModule mod_tls.c".into(),
                    "TLSEngine on".into(),
                    "TLSRequired on".into(),
                    format!("TLSProtocol {protocol}"),
                    format!("TLSRSACertificateFile {cert}"),
                    format!("TLSRSACertificateKeyFile {key}"),
                ]
            }
            // 3: control and data connections must be protected.
            Kind::PureFtpd => vec!["--tls=3".into(), format!("--certfile={cert},{key}")],
            Kind::Pyftpdlib => {
                let mut extra = vec![format!("--tls-cert={cert}"), format!("--tls-key={key}")];
                extra.extend(self.version.map(|version| match version {
                    Version::Tls12 => "--tls-version=1.2".to_owned(),
                    Version::Tls13 => "--tls-version=1.3".to_owned(),
                }));
                extra
            }
            // TLS begins at once there.
            Kind::Rclone => vec![format!("--cert={cert}"), format!("--key={key}")],
            Kind::Twisted | Kind::Aioftp | Kind::FtpSrv | Kind::Inetutils | Kind::Busybox => {
                unreachable!("it is not tried by TLS")
            }
        };
        // Servers without a setting for it obey OpenSSL's own.
        let environment = self.version.map(|version| {
            let file = authority().version_file(version);
            ("OPENSSL_CONF", file.display().to_string())
        });
        Options {
            extra,
            environment: environment.into_iter().collect(),
            ..Options::default()
        }
    }
}

/// Files of a certificate that a server shows, and of its key.
#[derive(Clone, Debug)]
pub struct Shown {
    /// PEM; those between it and its authority follow it.
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Shown {
    /// The digest of its key, as `--pin` takes it; by `openssl`, not by us.
    pub fn pin(&self) -> String {
        let script = r#"openssl x509 -in "$0" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r"#;
        let output = Command::new("sh")
            .args(["-c", script])
            .arg(&self.cert)
            .output()
            .expect("sh can be started");
        let text = String::from_utf8(output.stdout).expect("a digest is hexadecimal");
        let digest = text.split_whitespace().next().expect("openssl printed it");
        format!("sha256:{digest}")
    }
}

/// An authority with all it signs; one for all tests of a process.
pub struct Authority {
    dir: TempDir,
}

/// The authority of this process.
pub fn authority() -> &'static Authority {
    static MADE: OnceLock<Authority> = OnceLock::new();
    MADE.get_or_init(|| {
        let authority = Authority {
            dir: TempDir::new("tls"),
        };
        authority.found("ca", "Test Authority");
        // Settings for any process that uses OpenSSL, servers that have given up their rights included.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(authority.dir.path(), open).expect("it is ours");
        authority
    })
}

impl Authority {
    /// The file with the authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// A good certificate for this machine's loopback addresses and `localhost`.
    pub fn good(&self) -> &'static Shown {
        static MADE: OnceLock<Shown> = OnceLock::new();
        MADE.get_or_init(|| self.sign("good", "ca", LOOPBACK, VALID, "rsa:2048"))
    }

    /// Makes an authority of that name which nobody trusts.
    pub fn found(&self, name: &str, common_name: &str) {
        self.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            &format!("/CN={common_name}"),
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-keyout",
            &self.text(name, "key"),
            "-out",
            &self.text(name, "crt"),
        ]);
    }

    /// Makes a self-signed certificate as NAS boxes do: CA:TRUE and no alternative name.
    pub fn self_signed(&self, name: &str) -> Shown {
        self.found(name, "127.0.0.1");
        self.shown(name)
    }

    /// Signs a server's certificate for those names, valid between these times.
    pub fn sign(
        &self,
        name: &str,
        issuer: &str,
        names: &str,
        valid: (&str, &str),
        key: &str,
    ) -> Shown {
        let extensions = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth\n");
        self.sign_with(name, issuer, &extensions, valid, key)
    }

    /// Signs a certificate for another authority.
    pub fn sign_authority(&self, name: &str, issuer: &str) {
        self.sign_with(
            name,
            issuer,
            "basicConstraints=critical,CA:TRUE\n",
            VALID,
            "rsa:2048",
        );
    }

    /// Signs a certificate with those extensions.
    pub fn sign_with(
        &self,
        name: &str,
        issuer: &str,
        extensions: &str,
        valid: (&str, &str),
        key: &str,
    ) -> Shown {
        let (from, until) = valid;
        let index = self.path(&format!("{name}.index"));
        fs::write(&index, "").expect("a file below target/tmp can be written");
        let settings = format!(
            "[ca]\ndefault_ca=x\n[x]\ndatabase={}\nnew_certs_dir={}\ndefault_md=sha256\npolicy=p\nrand_serial=yes\n\
             unique_subject=no\ncopy_extensions=none\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\n{extensions}",
            index.display(),
            self.dir.path().display(),
        );
        let file = self.path(&format!("{name}.cnf"));
        fs::write(&file, settings).expect("a file below target/tmp can be written");
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            key,
            "-nodes",
            "-subj",
            &format!("/CN=server {name}"),
            "-keyout",
            &self.text(name, "key"),
            "-out",
            &self.text(name, "csr"),
        ]);
        self.openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            &file.display().to_string(),
            "-startdate",
            from,
            "-enddate",
            until,
            "-cert",
            &self.text(issuer, "crt"),
            "-keyfile",
            &self.text(issuer, "key"),
            "-in",
            &self.text(name, "csr"),
            "-out",
            &self.text(name, "crt"),
        ]);
        self.shown(name)
    }

    /// Puts the certificate of `issuer` behind what `shown` shows.
    pub fn with_issuer(&self, shown: Shown, issuer: &str) -> Shown {
        let mut chain = fs::read(&shown.cert).expect("it was made");
        chain.extend(fs::read(self.path(&format!("{issuer}.crt"))).expect("it was made"));
        let cert = shown.cert.with_extension("chain");
        fs::write(&cert, chain).expect("a file below target/tmp can be written");
        Shown { cert, ..shown }
    }

    /// Settings of OpenSSL with which a server shows any certificate.
    pub fn careless_file(&self) -> String {
        let path = self.path("careless.openssl");
        let settings = "openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nCipherString=ALL:@SECLEVEL=0\n";
        fs::write(&path, settings).expect("a file below target/tmp can be written");
        path.display().to_string()
    }

    fn version_file(&self, version: Version) -> PathBuf {
        let name = match version {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        };
        let path = self.path(&format!("{name}.openssl"));
        let settings = format!(
            "openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nMinProtocol={name}\nMaxProtocol={name}\n"
        );
        fs::write(&path, settings).expect("a file below target/tmp can be written");
        path
    }

    fn shown(&self, name: &str) -> Shown {
        Shown {
            cert: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str, extension: &str) -> String {
        self.path(&format!("{name}.{extension}"))
            .display()
            .to_string()
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("the openssl program is installed");
        assert!(
            output.status.success(),
            "openssl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The alternative names of a server on this machine.
pub const LOOPBACK: &str = "IP:127.0.0.1,DNS:localhost";

/// From yesterday's point of view and for long.
pub const VALID: (&str, &str) = ("20250101000000Z", "20491231000000Z");

fn installed(path: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("target/tmp is in target");
    let path = target.join(path);
    assert!(
        path.exists(),
        "run tests/run, which installs {}",
        path.display()
    );
    path
}
