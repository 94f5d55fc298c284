//! Module borders that crates alone cannot guard (docs/ARCHITECTURE.md, "Code map").
//!
//! A rule names a folder and words that must not stand there, outside of comments and of inline
//! tests. Each rule is also held against a text that breaks it, so that it can fail.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Lines of a Rust file before its inline tests. Longer ones hold more than one thought.
const FILE_LINES_MAX: usize = 600;

/// Upstream's code with small changes: its style is its own, its licences are checked.
const THIRD_PARTY: &str = "third_party";

/// Words that must not stand in `folder`, except under one of `except`.
struct Border {
    folder: &'static str,
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const NOWHERE: &[&str] = &[];
/// Names every crate whose details may be logged.
const LOG_AREAS: &[&str] = &["conclave/src/log"];
/// Peers for tests, compiled only for them.
const CORE_TEST_PEERS: &str = "sfu/core/src/test_support";

/// How a connection is made, or a name looked up, without anybody having checked where it goes.
const CONNECTING: &[&str] = &[
    "tokio_rustls",
    "webpki_roots",
    "reqwest",
    "TcpStream::connect",
    "TcpSocket",
    "lookup_host",
    "to_socket_addrs",
    "ToSocketAddrs",
];

const BORDERS: &[Border] = &[
    Border {
        folder: "sfu/core/src",
        except: NOWHERE,
        words: &[
            "UdpSocket",
            "TcpStream",
            "TcpListener",
            "Instant::now",
            "SystemTime::now",
            "std::thread",
            "thread::",
            "Mutex",
            "RwLock",
            "std::env",
            "env::var",
            "tokio",
            "mio::",
            "socket2",
        ],
        why: "the media core is a state machine: no sockets, clock, threads, locks, environment",
    },
    Border {
        folder: "sfu/proto/src",
        except: NOWHERE,
        words: &[
            "UdpSocket",
            "TcpStream",
            "TcpListener",
            "Instant::now",
            "SystemTime::now",
            "std::thread",
            "Mutex",
            "tokio",
            "aws_lc_rs",
            "dimpl",
        ],
        why: "formats know no sockets, clock or crypto",
    },
    Border {
        folder: "sfu/core/src",
        except: &["sfu/core/src/transport", CORE_TEST_PEERS],
        words: &["dimpl", "aws_lc_rs"],
        why: "only transport speaks DTLS and SRTP",
    },
    Border {
        folder: "sfu/src",
        except: &["sfu/src/io"],
        words: &[
            "UdpSocket",
            "TcpStream",
            "TcpListener",
            "socket2",
            "nix::sys::socket",
            "mio::net",
        ],
        why: "sockets of the shell live under io",
    },
    Border {
        folder: "signaling/src",
        except: &["signaling/src/store"],
        words: &["sqlx"],
        why: "the database has one door: store",
    },
    Border {
        folder: "signaling/src",
        except: &["signaling/src/webhook", "signaling/src/config", "signaling/src/limits"],
        words: &["hyper::client", "egress"],
        why: "what calls partners' URLs has one door: webhook",
    },
    Border {
        folder: "signaling/src",
        except: NOWHERE,
        words: CONNECTING,
        why: "addresses that partners choose are connected to by egress, which checks them",
    },
    Border {
        folder: "recorder/src",
        except: NOWHERE,
        words: CONNECTING,
        why: "addresses that partners choose are connected to by egress, which checks them",
    },
    Border {
        folder: "recorder/src",
        except: &["recorder/src/storage"],
        words: &["hyper", "egress", "object_store", "russh", "russh_sftp"],
        why: "partners' storages have one door: storage",
    },
    Border {
        folder: "signaling/src/domain",
        except: NOWHERE,
        words: &["tokio", "axum", "sqlx", "Instant::now", "SystemTime::now", "std::env"],
        why: "the domain is pure and replayable",
    },
    Border {
        folder: "conclave/src",
        except: LOG_AREAS,
        words: &["sqlx", "sfu_core", "dimpl", "jsonwebtoken"],
        why: "the binary composes; it holds no rules of rooms, media or tokens",
    },
];

/// Which of our packages a package may use (DESIGN: dependencies point one way).
const MAY_USE: &[(&str, &[&str])] = &[
    ("sfu-proto", &[]),
    ("sdk-spec", &[]),
    ("egress", &[]),
    ("sfu-core", &["sfu-proto"]),
    ("bus", &["sfu-proto"]),
    ("sfu", &["sfu-core", "sfu-proto", "bus"]),
    ("signaling", &["sdk-spec", "sfu-proto", "bus", "egress"]),
    ("recorder", &["sfu-proto", "bus", "egress"]),
    ("conclave", &["sfu", "sfu-proto", "signaling", "recorder", "bus", "sdk-spec", "egress"]),
    ("loadtest", &["sfu-core", "sfu-proto", "sfu", "bus", "sdk-spec", "signaling", "recorder"]),
];

/// Libraries that a package must never name in its manifest.
const NEVER_USE: &[(&str, &[&str])] = &[
    ("sfu-proto", &["tokio", "mio", "socket2", "nix", "aws-lc-rs", "dimpl", "axum"]),
    ("sfu-core", &["tokio", "mio", "socket2", "nix", "axum", "dashmap", "sqlx"]),
    ("sdk-spec", &["tokio", "axum", "sqlx"]),
];

/// Licences that an Apache-2.0 program can carry; as in deny.toml.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "OpenSSL",
    "Unlicense",
    "0BSD",
    "BSL-1.0",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files of the repository that are ours and not ignored, relative to its root.
fn tracked_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap_or_default();
            let skip = ["target", "node_modules", "dist", "out", "data", "artifacts", THIRD_PARTY];
            if entry.file_type().unwrap().is_dir() {
                if !skip.contains(&name.as_str()) && ![".git", ".venv"].contains(&name.as_str()) {
                    open.push(entry.path());
                }
            } else {
                found.push(entry.path().strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn rust_sources() -> impl Iterator<Item = PathBuf> {
    tracked_files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"))
}

/// The code of a file: no inline tests at its end, no comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.lines().position(|l| l.starts_with("#[cfg(test)]")).unwrap_or(usize::MAX);
    let code = text.lines().enumerate().take(end);
    code.map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
}

/// `word` stands in `line` and is no part of a longer name.
fn stands_in(word: &str, line: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && (word.ends_with(':') || !after.is_some_and(part))
    })
}

/// A file of nothing but inline tests.
fn is_tests(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
}

/// A file under the folder of such a file: `src/…/tests/…`.
fn is_under_tests(path: &Path) -> bool {
    let mut parts = path.parent().into_iter().flat_map(Path::components);
    parts.any(|part| part.as_os_str() == "src") && parts.any(|part| part.as_os_str() == "tests")
}

fn crossings(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for border in BORDERS {
        let under = |e: &&str| path.starts_with(e) || path == Path::new(&format!("{e}.rs"));
        let excepted = border.except.iter().any(under);
        let is_test = is_tests(path) || is_under_tests(path);
        if !path.starts_with(border.folder) || excepted || is_test {
            continue;
        }
        for (number, line) in code(text) {
            for word in border.words.iter().filter(|word| stands_in(word, line)) {
                found.push(format!("{}:{number}: {word}: {}", path.display(), border.why));
            }
        }
    }
    found
}

#[test]
fn module_borders_hold() {
    let found: Vec<String> = rust_sources()
        .flat_map(|path| crossings(&path, &fs::read_to_string(root().join(&path)).unwrap()))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn each_border_can_be_crossed() {
    for border in BORDERS {
        let path = Path::new(border.folder).join("x.rs");
        for word in border.words {
            let text = format!("fn f() {{ {word} }}");
            assert!(!crossings(&path, &text).is_empty(), "{word} in {}", path.display());
            assert!(crossings(&path, &format!("// {word}")).is_empty(), "{word} in a comment");
        }
        assert!(root().join(border.folder).is_dir(), "{} is no folder", border.folder);
    }
    assert!(stands_in("Mutex", "a: Mutex<u8>") && !stands_in("Mutex", "NoMutexHere"));
}

#[test]
fn no_rust_file_is_too_long() {
    for path in rust_sources().filter(|path| !is_tests(path)) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let lines = code(&text).count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines before its tests", path.display());
    }
}

#[test]
fn no_file_names_a_package_registry() {
    let hosts = [
        concat!("registry.", "npmjs.org"),
        concat!("static.", "crates.io"),
        concat!("index.", "crates.io"),
        concat!("files.python", "hosted.org"),
        concat!("pypi", ".org"),
    ];
    for path in tracked_files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for host in hosts {
            assert!(!text.contains(host), "{} names {host}", path.display());
        }
        if path.ends_with("package-lock.json") {
            assert!(!text.contains("\"resolved\": \"http"), "{} has resolved URLs", path.display());
        }
    }
}

#[test]
fn the_web_sdk_has_no_run_time_dependencies_and_contacts_nobody_else() {
    let web = root().join("sdk-spec/web");
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(web.join("package.json")).unwrap()).unwrap();
    assert!(manifest.get("dependencies").is_none(), "the SDK must bring no other code along");
    for path in tracked_files().iter().filter(|p| p.starts_with("sdk-spec/web/src")) {
        let text = fs::read_to_string(root().join(path)).unwrap();
        for (number, line) in code(&text) {
            for word in ["localStorage", "sessionStorage", "indexedDB", "document.cookie", "stun:"]
            {
                assert!(!line.contains(word), "{}:{number}: {word}", path.display());
            }
        }
    }
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn names(package: &Value, development: bool) -> BTreeSet<&str> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies.filter(|d| development || d["kind"] != "dev").map(|d| text(d, "name")).collect()
}

#[test]
fn packages_depend_one_way() {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(packages.iter().map(|p| text(p, "name")).collect::<BTreeSet<_>>(), ours);
    for package in packages {
        let name = text(package, "name");
        let (_, may) = MAY_USE.iter().find(|(of, _)| *of == name).unwrap();
        for used in names(package, false).intersection(&ours) {
            assert!(may.contains(used), "{name} must not use {used}");
        }
        assert!(name == "loadtest" || !names(package, true).contains("loadtest"), "{name}");
        for (_, never) in NEVER_USE.iter().filter(|(of, _)| *of == name) {
            let used = names(package, false);
            assert!(!never.iter().any(|n| used.contains(n)), "{name} names one of {never:?}");
        }
    }
}

#[test]
fn every_package_takes_the_workspace_lints_and_has_a_readme() {
    assert!(
        fs::read_to_string(root().join("Cargo.toml")).unwrap().contains("unsafe_code = \"forbid\"")
    );
    for package in metadata(&["--no-deps"])["packages"].as_array().unwrap() {
        let manifest = Path::new(text(package, "manifest_path"));
        let lints = fs::read_to_string(manifest).unwrap().contains("[lints]\nworkspace = true");
        assert!(lints, "{} lacks the workspace lints", manifest.display());
        let readme = manifest.with_file_name("README.md");
        assert!(readme.exists(), "{} is missing", readme.display());
    }
}

/// `MIT OR Apache-2.0`, `(MIT) AND ISC`, `MIT/Apache-2.0`: each AND part needs one allowed choice.
fn licence_is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| LICENCES.contains(&one.trim())))
}

/// The target triple of this machine; packages for others may not have been downloaded.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// From the registry, or from here: a package of ours, or upstream's code with its licence beside.
fn comes_from_where_it_may(name: &str, source: Option<&str>, manifest: &Path) -> bool {
    match source {
        Some(source) => source.starts_with("registry+") || source.starts_with("sparse+"),
        None if MAY_USE.iter().any(|(ours, _)| *ours == name) => true,
        None => {
            let folder = manifest.parent().unwrap();
            folder.parent() == Some(&root().join(THIRD_PARTY))
                && ["LICENSE-MIT.txt", "LICENSE-APACHE.txt", "LICENSE"]
                    .iter()
                    .any(|file| folder.join(file).exists())
        }
    }
}

#[test]
fn dependencies_come_from_the_registry_under_allowed_licences() {
    let metadata = metadata(&["--filter-platform", &host()]);
    for package in metadata["packages"].as_array().unwrap() {
        let name = text(package, "name");
        let source = package["source"].as_str();
        let place = Path::new(text(package, "manifest_path"));
        assert!(comes_from_where_it_may(name, source, place), "{name} comes from {source:?}");
        let licence = text(package, "license");
        assert!(licence_is_allowed(licence), "{name} is under {licence:?}");
    }
}

#[test]
fn code_from_elsewhere_is_noticed() {
    let sound = |name, source, place| comes_from_where_it_may(name, source, &root().join(place));
    assert!(sound("dimpl", None, "third_party/dimpl/Cargo.toml"));
    assert!(!sound("dimpl", None, "../dimpl/Cargo.toml") && !sound("x", None, "sfu/x/Cargo.toml"));
    assert!(!sound("x", Some("git+https://example.com/x"), "x/Cargo.toml"));
    assert!(!tracked_files().iter().any(|path| path.starts_with(THIRD_PARTY)));
}

#[test]
fn licence_expressions_are_judged_by_each_part() {
    assert!(licence_is_allowed("MIT OR GPL-3.0") && licence_is_allowed("(MIT/Apache-2.0) AND ISC"));
    assert!(!licence_is_allowed("MIT AND GPL-3.0") && !licence_is_allowed(""));
}
