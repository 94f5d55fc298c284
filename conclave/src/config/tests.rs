#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;

use super::{Config, Mistakes, Overrides};

fn read(text: &str) -> Result<Config, String> {
    let mut mistakes = Mistakes::default();
    let config = Config::read(text, &mut mistakes);
    config.check(&mut mistakes);
    mistakes.into_result(config).map_err(|m| m.to_string())
}

#[test]
fn sample_is_the_default_configuration() {
    assert_eq!(read(&Config::sample()), Ok(Config::default()));
    assert_eq!(read(""), Ok(Config::default()));
}

#[test]
fn examples_in_the_sample_are_valid_values() {
    let uncommented = Config::sample().replace("# certificate =", "certificate =");
    let uncommented = uncommented.replace("# private_key =", "private_key =");
    let uncommented = uncommented.replace("# bind =", "bind =");
    let uncommented = uncommented.replace("# public_url =", "public_url =");
    let uncommented = uncommented.replace("# database_url =", "database_url =");
    let uncommented = uncommented.replace("# data_key_file =", "data_key_file =");
    let config = read(&uncommented).unwrap();
    assert!(config.storage.database_url.is_some() && config.storage.data_key_file.is_some());
    assert!(config.http.certificate.is_some() && config.http.private_key.is_some());
    assert!(config.media.bind.is_some() && config.http.public_url.is_some());
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "
        typo = 1
        [http]
        listen = \"0.0.0.0:80\"
        port = 80
        allowed_origins = [\"https://a.example/page\"]
        [media]
        port = 70000
        announce = [\"0.0.0.0\"]
        [operator]
        listen = \"192.0.2.1:7881\"
        [log]
        level = \"info,sfu=loud\"
    ";
    let told = read(text).unwrap_err();
    for place in [
        "typo:",
        "http.listen: plain HTTP is served on a loopback address only",
        "http.public_url: needed when listening on every address",
        "http.port:",
        "http.allowed_origins:",
        "media.port:",
        "media.announce:",
        "operator.listen:",
        "log.level:",
    ] {
        assert!(told.contains(place), "{place} is missing in: {told}");
    }
    assert!(told.starts_with("the configuration has 9 mistakes:"), "{told}");
}

#[test]
fn syntax_mistakes_carry_their_line_and_do_not_hide_the_rest() {
    let told = read("[http\nlisten = \"nowhere\"\n\n[media]\nport = \n").unwrap_err();
    assert!(told.contains("line 1:") && told.contains("line 5:"), "{told}");
}

#[test]
fn a_certificate_without_its_key_is_a_mistake() {
    let told = read("[http]\ncertificate = \"a.pem\"").unwrap_err();
    assert!(told.contains("http.private_key"), "{told}");
}

#[test]
fn the_password_of_the_database_is_never_shown() {
    let config = read("[storage]\ndatabase_url = \"postgres://u:canary@h/d\"").unwrap();
    assert!(!format!("{config:?}").contains("canary"));
    let told = read("[storage]\ndatabase_url = \"mysql://u:canary@h/d\"").unwrap_err();
    assert!(told.contains("storage.database_url") && !told.contains("canary"), "{told}");
}

#[test]
fn flags_win_over_the_file() {
    let mut config = read("[http]\nlisten = \"127.0.0.1:1\"\n[media]\nport = 5").unwrap();
    config
        .apply(Overrides { listen: Some((Ipv4Addr::LOCALHOST, 2).into()), ..Overrides::default() });
    assert_eq!((config.http.listen.port(), config.media.port), (2, 5));
}

#[test]
fn a_link_needs_a_port_and_other_keys_a_database_that_is_shared() {
    let key = "ab".repeat(32);
    let shared = "[storage]\ndatabase_url = \"postgres://db.example/conclave\"\n";
    let good =
        format!("{shared}[link]\nconnect = \"recorder.example:7890\"\nrecorders = [\"{key}\"]");
    assert_eq!(read(&good).unwrap().link.recorders, [key.as_str()]);
    assert!(read("[link]\nconnect = \"[::1]:7890\"\nlisten = \"[::1]:7890\"").is_ok());
    let bad = format!(
        "[link]\nconnect = \"recorder.example\"\nrecorders = [\"{key}\"]\nservers = [\"{}\"]\n\
         metrics = \"192.0.2.1:1\"\naway_seconds = 4",
        &key[1..]
    );
    let told = read(&bad).unwrap_err();
    for place in [
        "link.connect",
        "link.recorders: others with",
        "link.servers: a fingerprint has 64 hexadecimal digits",
        "same PostgreSQL",
        "link.away_seconds",
        "link.metrics",
    ] {
        assert!(told.contains(place), "{place}: {told}");
    }
}
