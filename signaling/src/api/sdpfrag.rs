//! `application/trickle-ice-sdpfrag` (RFC 8840) as WHIP uses it (RFC 9725 section 4.3).

use sfu_proto::sdp::{Answer, IceCredentials};

/// Not a fragment, or credentials outside of RFC 8839 section 5.4.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FragmentError;

/// The ICE credentials of a fragment, if it has any. Candidates are not read: the media node learns
/// the client's addresses from its checks.
pub(super) fn parse(text: &str) -> Result<Option<IceCredentials>, FragmentError> {
    let value = |key: &str| {
        text.lines().find_map(|line| line.trim_end().strip_prefix("a=")?.strip_prefix(key))
    };
    let sound = text.lines().all(|line| {
        let line = line.trim_end();
        line.is_empty() || (line.len() >= 2 && line.as_bytes()[1] == b'=')
    });
    if !sound {
        return Err(FragmentError);
    }
    match (value("ice-ufrag:"), value("ice-pwd:")) {
        (None, None) => Ok(None),
        (Some(ufrag), Some(pwd)) if is_ice(ufrag, 4) && is_ice(pwd, 22) => {
            Ok(Some(IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() }))
        }
        _ => Err(FragmentError),
    }
}

/// `least` to 256 ice-chars.
fn is_ice(text: &str, least: usize) -> bool {
    (least..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// What a client needs of an answer to restart ICE: credentials and candidates, under the m-section
/// that carries the bundle.
pub(super) fn write(answer: &Answer) -> String {
    const WANTED: [&str; 8] = [
        "a=ice-lite",
        "a=ice-options:",
        "a=group:",
        "a=mid:",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=candidate:",
        "a=end-of-candidates",
    ];
    let text = answer.write();
    let mut sections = text.split("\r\nm=");
    let session = sections.next().unwrap_or_default().to_owned();
    // Only the section that carries the transport has credentials; the others are bundled.
    let carrier = sections.find(|section| section.contains("\r\na=ice-ufrag:"));
    let media = carrier.map(|section| format!("m={section}")).unwrap_or_default();
    let wanted = |line: &&str| {
        line.starts_with("m=") || WANTED.iter().any(|wanted| line.starts_with(wanted))
    };
    let lines = session.lines().chain(media.lines()).filter(wanted);
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    /// RFC 9725 section 4.3.3, figure 6, shortened.
    const RESTART: &str = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ysXw\r\n\
        a=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";

    #[test]
    fn credentials_are_found_and_checked() {
        let ice = parse(RESTART).unwrap().unwrap();
        assert_eq!(ice.ufrag, "ysXw");
        assert!(parse("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n").unwrap().is_none());
        assert!(parse("").unwrap().is_none());
        for bad in [
            "a=ice-ufrag:ysXw\r\n",
            "a=ice-ufrag:ys\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n",
            "a=ice-ufrag:ysXw\r\na=ice-pwd:short\r\n",
            "a=ice-ufrag:ys w\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n",
            "junk\r\n",
        ] {
            assert_eq!(parse(bad).err(), Some(FragmentError), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }
    }
}
