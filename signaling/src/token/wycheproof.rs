//! Wycheproof's cases for JSON Web Signatures (C2SP, Apache-2.0, testvectors_v1, 401 cases) against
//! the reading and verifying of tokens.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;

use super::*;

const CASES: &str = include_str!("vectors/json_web_signature_test.json");

/// Headers of the cases. Ours are stricter still.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseHeader {
    alg: String,
    #[serde(rename = "kid")]
    _kid: Option<String>,
    #[serde(rename = "typ")]
    _typ: Option<String>,
}

struct Case {
    id: u64,
    key: Value,
    jws: String,
    valid: bool,
}

fn cases() -> Vec<Case> {
    let all: Value = serde_json::from_str(CASES).unwrap();
    let mut cases = Vec::new();
    for group in all["testGroups"].as_array().unwrap() {
        let key = if group["private"].is_object() { &group["private"] } else { &group["public"] };
        for test in group["tests"].as_array().unwrap() {
            let jws = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
            let (id, valid) = (test["tcId"].as_u64().unwrap(), test["result"] == "valid");
            cases.push(Case { id, key: key.clone(), jws, valid });
        }
    }
    assert_eq!(cases.len(), 401);
    cases
}

/// The way of a token up to its claims, for a key that is for one algorithm.
fn accepts(verifier: &Verifier, jws: &str) -> bool {
    let Some((header, signed, signature)) = split::<CaseHeader>(jws) else { return false };
    let payload = signed.split_once('.').map(|(_, payload)| BASE64.decode(payload).is_ok());
    header.alg == verifier.algorithm().as_str()
        && verifier.holds(signed, signature)
        && payload == Some(true)
}

#[test]
fn macs_are_accepted_exactly_when_they_are_right() {
    let (mut accepted, mut refused, mut stricter) = (0, 0, Vec::new());
    let all = cases();
    let right: Vec<&str> = all.iter().filter(|c| c.valid).map(|c| c.jws.as_str()).collect();
    for case in all.iter().filter(|case| case.key["kty"] == "oct") {
        assert_eq!(case.key["alg"], "HS256");
        let secret = BASE64.decode(case.key["k"].as_str().unwrap()).unwrap();
        let verifier = Verifier::HmacSha256(secret);
        let got = accepts(&verifier, &case.jws);
        if !case.valid && right.contains(&case.jws.as_str()) {
            // The file lost the padding that these two are about: we add it.
            assert!([367, 370].contains(&case.id), "{}", case.id);
            for padded in [case.jws.replacen('.', "=.", 1), case.jws.replace("A.", "A==.")] {
                assert!(padded != case.jws && !accepts(&verifier, &padded));
            }
            continue;
        }
        assert!(case.valid || !got, "case {} is wrong and accepted", case.id);
        match (case.valid, got) {
            (true, true) => accepted += 1,
            (true, false) => stricter.push(case.id),
            (false, _) => refused += 1,
        }
    }
    assert_eq!(refused, 28);
    // Characters outside of base64url are inserted in these two: some libraries skip them.
    assert!(stricter.iter().all(|id| [372, 373].contains(id)), "{stricter:?}");
    assert_eq!(accepted + stricter.len(), 10);
}

#[test]
fn nothing_made_for_another_kind_of_key_is_accepted() {
    let mut tried = 0;
    for case in cases() {
        // Public parts taken for a secret, as in algorithm confusion, and for a public key of ours.
        for part in ["n", "x", "y", "e", "k"] {
            let Some(text) = case.key[part].as_str() else { continue };
            let raw = BASE64.decode(text).unwrap_or_default();
            let is_own = case.key["kty"] == "oct" && part == "k";
            for secret in [raw.clone(), text.as_bytes().to_vec()] {
                let confused = !is_own || secret != raw;
                let got = accepts(&Verifier::HmacSha256(secret), &case.jws);
                assert!(!(confused && got), "case {} with {part} as a secret", case.id);
                tried += 1;
            }
            assert!(!accepts(&Verifier::Ed25519(raw), &case.jws), "case {}", case.id);
        }
        let whole = Verifier::HmacSha256(case.key.to_string().into_bytes());
        assert!(!accepts(&whole, &case.jws), "case {}", case.id);
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn no_case_is_a_room_token() {
    for case in cases() {
        let header = split::<StrictHeader>(&case.jws).map(|(header, ..)| header.typ);
        assert!(header.is_none_or(|typ| typ != TYPE), "case {}", case.id);
    }
}
