//! Writes our answer (RFC 8829 section 5.3.1): ICE lite, DTLS passive, one bundle.

use std::{fmt::Display, net::IpAddr};

use rtc_sdp::description::{
    common::{Address, Attribute, ConnectionInformation},
    media::{MediaDescription, MediaName, RangedPort},
    session::{Origin, SessionDescription, TimeDescription},
};

use super::{Answer, AnsweredMedia, Candidate, Direction, Kind, PayloadFormat, Rid};

/// Port of an accepted section: "discard", as addresses stand in candidates (RFC 8829).
const PORT_ACCEPTED: isize = 9;
/// Where the offered protocol is not known.
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

impl Answer {
    /// The answer as SDP, as the session's first.
    pub fn write(&self) -> String {
        self.write_version(1)
    }

    /// The answer as SDP. `version` grows with each answer of a session (RFC 8829 section 5.3.2).
    pub fn write_version(&self, version: u64) -> String {
        let mut description = SessionDescription {
            origin: self.origin(version),
            session_name: "-".to_owned(),
            time_descriptions: vec![TimeDescription::default()],
            attributes: self.session_attributes(),
            ..SessionDescription::default()
        };
        let tagged = self.media.iter().position(|media| !media.refused);
        let sections = self.media.iter().enumerate();
        description.media_descriptions =
            sections.map(|(i, media)| self.section(media, tagged == Some(i))).collect();
        description.marshal()
    }

    /// The session id must stay the same during a session and tell nothing: a hash of the random
    /// CNAME, which has both properties.
    fn origin(&self, version: u64) -> Origin {
        // FNV-1a; 62 bits, as some parsers read a signed number.
        let hash = self.cname.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Origin {
            username: "-".to_owned(),
            session_id: hash >> 2,
            session_version: version,
            network_type: "IN".to_owned(),
            address_type: "IP4".to_owned(),
            unicast_address: "0.0.0.0".to_owned(),
        }
    }

    fn session_attributes(&self) -> Vec<Attribute> {
        let mut lines = Lines::default();
        lines.flag("ice-lite");
        let accepted = self.media.iter().filter(|media| !media.refused);
        let mids: Vec<&str> = accepted.map(|media| media.mid.as_str()).collect();
        if !mids.is_empty() {
            lines.value("group", format_args!("BUNDLE {}", mids.join(" ")));
        }
        lines.value("msid-semantic", "WMS *");
        if self.extmap_allow_mixed {
            lines.flag("extmap-allow-mixed");
        }
        lines.0
    }

    /// `is_tagged`: the first accepted section, which carries the candidates of the bundle.
    fn section(&self, media: &AnsweredMedia, is_tagged: bool) -> MediaDescription {
        let mut lines = Lines::default();
        lines.value("mid", &media.mid);
        if media.refused {
            lines.flag("inactive");
        } else {
            self.transport(&mut lines, is_tagged);
            lines.flag(direction(media.direction));
            self.media(&mut lines, media);
        }
        MediaDescription {
            media_name: media_name(media),
            connection_information: Some(ConnectionInformation {
                network_type: "IN".to_owned(),
                address_type: "IP4".to_owned(),
                address: Some(Address { address: "0.0.0.0".to_owned(), ttl: None, range: None }),
            }),
            attributes: lines.0,
            ..MediaDescription::default()
        }
    }

    fn transport(&self, lines: &mut Lines, is_tagged: bool) {
        lines.value("ice-ufrag", &self.ice.ufrag);
        lines.value("ice-pwd", &self.ice.pwd);
        lines.value("fingerprint", format_args!("sha-256 {}", self.fingerprint));
        lines.value("setup", "passive");
        lines.flag("rtcp-mux");
        lines.flag("rtcp-rsize");
        if is_tagged {
            for index in 0..self.candidates.len() {
                lines.value("candidate", candidate(&self.candidates, index));
            }
            lines.flag("end-of-candidates");
        }
    }

    fn media(&self, lines: &mut Lines, media: &AnsweredMedia) {
        for map in &media.extensions {
            lines.value("extmap", format_args!("{} {}", map.id, map.extension.uri()));
        }
        for format in &media.formats {
            payload_format(lines, format);
        }
        if let Some((stream, track)) = &media.msid {
            lines.value("msid", format_args!("{stream} {track}"));
        }
        simulcast(lines, &media.simulcast);
        let Some(ssrcs) = media.ssrcs else { return };
        if let Some(rtx) = ssrcs.rtx {
            lines.value("ssrc-group", format_args!("FID {} {rtx}", ssrcs.media));
        }
        for ssrc in [Some(ssrcs.media), ssrcs.rtx].into_iter().flatten() {
            lines.value("ssrc", format_args!("{ssrc} cname:{}", self.cname));
            if let Some((stream, track)) = &media.msid {
                lines.value("ssrc", format_args!("{ssrc} msid:{stream} {track}"));
            }
        }
    }
}

/// Attributes in the order written.
#[derive(Default)]
struct Lines(Vec<Attribute>);

impl Lines {
    fn flag(&mut self, key: &str) {
        self.0.push(Attribute::new(key.to_owned(), None));
    }

    fn value(&mut self, key: &str, value: impl Display) {
        self.0.push(Attribute::new(key.to_owned(), Some(value.to_string())));
    }
}

fn media_name(media: &AnsweredMedia) -> MediaName {
    let mut words = media.refused_line.split(' ').filter(|word| !word.is_empty());
    let offered_kind = words.next();
    let protocol = words.next().unwrap_or(PROTOCOL);
    let kind = match media.kind {
        Some(Kind::Audio) => "audio",
        Some(Kind::Video) => "video",
        None => offered_kind.unwrap_or("application"),
    };
    let mut formats: Vec<String> = match (media.refused, media.kind) {
        (false, _) => payload_types(&media.formats).map(|number| number.to_string()).collect(),
        (true, None) => words.map(str::to_owned).collect(),
        // A payload type without rtpmap would puzzle parsers.
        (true, Some(_)) => Vec::new(),
    };
    if formats.is_empty() {
        // The grammar wants one (RFC 8866 section 9); it means nothing in a refused section.
        formats.push("0".to_owned());
    }
    MediaName {
        media: kind.to_owned(),
        port: RangedPort { value: if media.refused { 0 } else { PORT_ACCEPTED }, range: None },
        protos: protocol.split('/').map(str::to_owned).collect(),
        formats,
    }
}

fn payload_types(formats: &[PayloadFormat]) -> impl Iterator<Item = u8> {
    formats.iter().flat_map(|format| [Some(format.payload_type), format.rtx]).flatten()
}

fn payload_format(lines: &mut Lines, format: &PayloadFormat) {
    let number = format.payload_type;
    lines.value("rtpmap", format_args!("{number} {}", format.codec.rtpmap()));
    if let Some(fmtp) = &format.fmtp {
        lines.value("fmtp", format_args!("{number} {fmtp}"));
    }
    let feedback =
        [(format.transport_cc, "transport-cc"), (format.nack, "nack"), (format.pli, "nack pli")];
    for (_, name) in feedback.iter().filter(|(is_on, _)| *is_on) {
        lines.value("rtcp-fb", format_args!("{number} {name}"));
    }
    if let Some(rtx) = format.rtx {
        lines.value("rtpmap", format_args!("{rtx} rtx/{}", format.codec.clock_rate()));
        lines.value("fmtp", format_args!("{rtx} apt={number}"));
    }
}

/// The layers that we receive (RFC 8851 section 6.3, RFC 8853 section 5.3.2).
fn simulcast(lines: &mut Lines, rids: &[Rid]) {
    for rid in rids {
        lines.value("rid", format_args!("{rid} recv"));
    }
    if !rids.is_empty() {
        let list: Vec<&str> = rids.iter().map(Rid::as_str).collect();
        lines.value("simulcast", format_args!("recv {}", list.join(";")));
    }
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

/// `a=candidate` (RFC 8839 section 5.1, RFC 6544 section 4.5) of the candidate at `index`.
fn candidate(all: &[Candidate], index: usize) -> String {
    let Candidate { tcp, address } = all[index];
    let (protocol, suffix) = if tcp { ("tcp", " tcptype passive") } else { ("udp", "") };
    let priority = priority(tcp, index);
    let foundation = foundation(all, index);
    let (ip, port) = (address.ip(), address.port());
    format!("{foundation} 1 {protocol} {priority} {ip} {port} typ host{suffix}")
}

/// RFC 8445 section 5.1.1.3: the same for candidates of one address and protocol.
fn foundation(all: &[Candidate], index: usize) -> usize {
    let same = |c: &Candidate| -> (bool, IpAddr) { (c.tcp, c.address.ip()) };
    1 + all.iter().position(|other| same(other) == same(&all[index])).unwrap_or(index)
}

/// RFC 8445 section 5.1.2.1, component 1. TCP after UDP, as RFC 6544 section 4.2 recommends, with
/// direction preference 4 of a passive host candidate.
fn priority(tcp: bool, index: usize) -> u32 {
    let order = u32::try_from(index).unwrap_or(u32::MAX);
    let (kind, local) = if tcp {
        (90, 4 << 13 | 0x1fffu32.saturating_sub(order))
    } else {
        (126, 0xffffu32.saturating_sub(order))
    };
    kind << 24 | local << 8 | 255
}
