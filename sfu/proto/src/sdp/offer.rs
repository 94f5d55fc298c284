//! Reads a client's offer: bounds first, then syntax, then meaning (RFC 8829 section 5.8).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Cursor,
};

use rtc_sdp::description::{media::MediaDescription, session::SessionDescription};

use super::{Direction, Fingerprint, IceCredentials, Offer, OfferedMedia, SdpError, section};
use crate::limits::{SDP_LEN_MAX, SDP_LINE_LEN_MAX, SDP_LINES_MAX, SDP_SECTIONS_MAX};

impl Offer {
    /// Parses and checks an offer. Takes time and memory in proportion to the text.
    ///
    /// # Errors
    /// [`SdpError`], whose text may be shown to the client.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        check_bounds(text)?;
        let description = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|_| SdpError::Syntax)?;
        let media = read_sections(&description)?;
        let bundle = bundle(&description, &media)?;
        check_bundle(&description, &media, &bundle)?;
        let transport = Transport { session: &description, bundle: &bundle };
        Ok(Self {
            ice: transport.ice()?,
            fingerprint: transport.fingerprint()?,
            active: transport.active()?,
            extmap_allow_mixed: transport.has("extmap-allow-mixed"),
            media,
        })
    }
}

/// Limits that hold before anything is allocated. Control characters are refused because a lone
/// CR inside a value would become a line break when the value is written again.
fn check_bounds(text: &str) -> Result<(), SdpError> {
    if text.len() > SDP_LEN_MAX {
        return Err(SdpError::TooLong);
    }
    let mut sections = 0;
    for (line, bytes) in (1..).zip(text.as_bytes().split(|byte| *byte == b'\n')) {
        if line > SDP_LINES_MAX + 1 || line == SDP_LINES_MAX + 1 && !bytes.is_empty() {
            return Err(SdpError::TooManyLines);
        }
        if bytes.len() > SDP_LINE_LEN_MAX {
            return Err(SdpError::LineTooLong { line });
        }
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(SdpError::ControlCharacter { line });
        }
        sections += usize::from(bytes.starts_with(b"m="));
        if sections > SDP_SECTIONS_MAX {
            return Err(SdpError::TooManySections);
        }
    }
    Ok(())
}

fn read_sections(description: &SessionDescription) -> Result<Vec<OfferedMedia>, SdpError> {
    let direction = section::direction(&description.attributes).unwrap_or(Direction::SendRecv);
    let mut mids = BTreeSet::new();
    let mut ssrcs = BTreeSet::new();
    let mut sections = Vec::with_capacity(description.media_descriptions.len());
    for (section, media) in description.media_descriptions.iter().enumerate() {
        let media = section::read(section, media, direction)?;
        if !mids.insert(media.mid.clone()) {
            return Err(SdpError::DuplicateMid { section });
        }
        let new_ssrcs: BTreeSet<u32> =
            media.ssrcs.iter().flat_map(|pair| [Some(pair.media), pair.rtx]).flatten().collect();
        if !media.stopped && !ssrcs.is_disjoint(&new_ssrcs) {
            return Err(SdpError::DuplicateSsrc { section });
        }
        ssrcs.extend(new_ssrcs);
        sections.push(media);
    }
    if sections.is_empty() { Err(SdpError::NoMedia) } else { Ok(sections) }
}

/// Indexes of the bundled sections in the group's order (RFC 9143 section 7.2): all that are not
/// stopped must be in it. A single section needs no group.
fn bundle<'a>(
    description: &'a SessionDescription,
    media: &[OfferedMedia],
) -> Result<Vec<Section<'a>>, SdpError> {
    let at = |index: usize| Section { index, media: &description.media_descriptions[index] };
    let active: BTreeSet<usize> =
        media.iter().enumerate().filter(|(_, m)| !m.stopped).map(|(i, _)| i).collect();
    let mut groups = description.attributes.iter().filter_map(|attribute| {
        let value = attribute.value.as_deref().filter(|_| attribute.key == "group")?;
        value.strip_prefix("BUNDLE")
    });
    let (Some(group), None) = (groups.next(), groups.next()) else {
        // Without a group, or with several: fine only if there is nothing to bundle.
        let single = active.len() <= 1;
        return if single {
            Ok(active.into_iter().map(at).collect())
        } else {
            Err(SdpError::Bundle)
        };
    };
    let by_mid: HashMap<&str, usize> =
        media.iter().enumerate().map(|(i, m)| (m.mid.as_str(), i)).collect();
    let indexes = group.split_ascii_whitespace().filter_map(|mid| by_mid.get(mid).copied());
    let order: Vec<usize> = indexes.filter(|index| active.contains(index)).collect();
    // As a set, so that a mid named twice does not hide a missing one.
    if order.iter().copied().collect::<BTreeSet<_>>() != active {
        return Err(SdpError::Bundle);
    }
    Ok(order.into_iter().map(at).collect())
}

#[derive(Clone, Copy)]
struct Section<'a> {
    index: usize,
    media: &'a MediaDescription,
}

/// What must be the same, or present, in all of a bundle.
fn check_bundle(
    description: &SessionDescription,
    media: &[OfferedMedia],
    bundle: &[Section<'_>],
) -> Result<(), SdpError> {
    let mut meanings = BTreeMap::new();
    for section in bundle {
        let index = section.index;
        let offered = &media[index];
        let has_mux =
            section.media.has_attribute("rtcp-mux") || description.has_attribute("rtcp-mux");
        if offered.kind.is_some() && !has_mux {
            return Err(SdpError::RtcpMux { section: index });
        }
        for map in &offered.extensions {
            if *meanings.entry(map.id).or_insert(map.extension) != map.extension {
                return Err(SdpError::ExtensionConflict { section: index });
            }
        }
    }
    Ok(())
}

/// Transport attributes of the bundle: the first section's in the group's order that has them, as
/// later ones may leave them out (RFC 9143 section 7.1.3), else the session's.
struct Transport<'a> {
    session: &'a SessionDescription,
    bundle: &'a [Section<'a>],
}

impl<'a> Transport<'a> {
    /// All values of an attribute, from the first level that has any.
    fn values(&self, key: &str) -> impl Iterator<Item = &'a str> {
        let of_media = self.bundle.iter().map(|section| &section.media.attributes);
        let mut levels = of_media.chain([&self.session.attributes]);
        let level = levels.find(|level| level.iter().any(|attribute| attribute.key == key));
        let attributes = level.into_iter().flatten().filter(move |attribute| attribute.key == key);
        attributes.filter_map(|attribute| attribute.value.as_deref()).map(str::trim)
    }

    fn has(&self, key: &str) -> bool {
        let of_media = self.bundle.iter().any(|section| section.media.has_attribute(key));
        of_media || self.session.has_attribute(key)
    }

    /// RFC 8839 section 5.4.
    fn ice(&self) -> Result<IceCredentials, SdpError> {
        let credential = |key, len_min: usize| {
            let value = self.values(key).next().ok_or(SdpError::Ice)?;
            let is_good = (len_min..=256).contains(&value.len())
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
            if is_good { Ok(value.to_owned()) } else { Err(SdpError::Ice) }
        };
        Ok(IceCredentials { ufrag: credential("ice-ufrag", 4)?, pwd: credential("ice-pwd", 22)? })
    }

    /// RFC 8122 section 5: the one SHA-256 among several hash functions.
    fn fingerprint(&self) -> Result<Fingerprint, SdpError> {
        self.values("fingerprint")
            .filter_map(|value| value.split_once(' '))
            .filter(|(hash, _)| hash.eq_ignore_ascii_case("sha-256"))
            .find_map(|(_, text)| parse_fingerprint(text.trim()))
            .ok_or(SdpError::Fingerprint)
    }

    /// RFC 8842 section 5.1: we are the DTLS server.
    fn active(&self) -> Result<bool, SdpError> {
        match self.values("setup").next() {
            Some("actpass" | "active") => Ok(true),
            _ => Err(SdpError::Setup),
        }
    }
}

/// `AB:CD:…`, 32 bytes.
fn parse_fingerprint(text: &str) -> Option<Fingerprint> {
    let mut bytes = [0; 32];
    let mut pairs = text.split(':');
    for byte in &mut bytes {
        let pair = pairs.next().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(Fingerprint(bytes))
}
