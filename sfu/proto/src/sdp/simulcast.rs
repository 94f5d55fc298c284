//! The simulcast layers that an m-section offers to send (RFC 8853), by RID (RFC 8851).

use rtc_sdp::description::common::Attribute;

use super::{Rid, SdpError, section::values};
use crate::limits::SDP_RIDS_PER_SECTION_MAX;

/// The RIDs after `send` in the first `a=simulcast`, in its order. Of alternatives (`a,b`) the first
/// that is usable counts, and a layer that starts paused (`~a`) is one like any other: it comes when
/// it comes. What is not declared by a usable `a=rid`, or named twice, is left out.
pub(super) fn read(section: usize, attributes: &[Attribute]) -> Result<Vec<Rid>, SdpError> {
    if values(attributes, "rid").count() > SDP_RIDS_PER_SECTION_MAX {
        return Err(SdpError::TooManyRids { section });
    }
    let declared: Vec<Rid> = values(attributes, "rid").filter_map(declared).collect();
    let mut layers: Vec<Rid> = Vec::new();
    let list = values(attributes, "simulcast").next().and_then(sent).unwrap_or_default();
    for alternatives in list.split(';') {
        let mut names = alternatives.split(',').map(|name| name.strip_prefix('~').unwrap_or(name));
        let rid = names.find_map(|name| declared.iter().find(|rid| rid.as_str() == name));
        if let Some(rid) = rid
            && !layers.contains(rid)
        {
            layers.push(rid.clone());
        }
    }
    Ok(layers)
}

/// `a=rid:<id> send`. One with restrictions is not usable: an answer would have to vouch for them
/// (RFC 8851 section 6.3), and no browser writes any unless its page asks for it.
fn declared(value: &str) -> Option<Rid> {
    let mut words = value.split_ascii_whitespace();
    let rid = words.next()?.try_into().ok()?;
    (words.next() == Some("send") && words.next().is_none()).then_some(rid)
}

/// The list after `send`, which may stand before or after one of the other direction (RFC 8853
/// section 5.1).
fn sent(value: &str) -> Option<&str> {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    words.chunks_exact(2).find(|pair| pair[0] == "send").map(|pair| pair[1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attributes(lines: &[(&str, &str)]) -> Vec<Attribute> {
        let line =
            |(key, value): &(&str, &str)| Attribute::new((*key).into(), Some((*value).into()));
        lines.iter().map(line).collect()
    }

    fn layers(lines: &[(&str, &str)]) -> Vec<String> {
        let read = read(0, &attributes(lines)).unwrap_or_default();
        read.iter().map(Rid::to_string).collect()
    }

    const RIDS: [(&str, &str); 4] =
        [("rid", "q send"), ("rid", "h send"), ("rid", "f send"), ("rid", "r recv")];

    fn with(simulcast: &str) -> Vec<String> {
        layers(&[&RIDS[..], &[("simulcast", simulcast)]].concat())
    }

    /// RFC 8853 section 5.1 and 5.6.1.
    #[test]
    fn the_list_that_is_sent_counts_in_its_order() {
        assert_eq!(with("send q;h;f"), ["q", "h", "f"]);
        assert_eq!(with("send f;q recv r"), ["f", "q"]);
        assert_eq!(with("recv r send h;q"), ["h", "q"]);
        assert!(with("recv r").is_empty() && with("").is_empty() && with("send").is_empty());
    }

    #[test]
    fn the_first_usable_alternative_and_paused_layers_count() {
        assert_eq!(with("send ~q,h;x,f"), ["q", "f"]);
        assert_eq!(with("send ~q;~h"), ["q", "h"]);
    }

    #[test]
    fn what_is_not_declared_or_repeated_or_restricted_is_left_out() {
        assert_eq!(with("send q;q;r;none;h"), ["q", "h"]);
        assert!(layers(&[("simulcast", "send q;h")]).is_empty());
        let restricted = [("rid", "q send max-width=320"), ("rid", "h send"), ("rid", "é send")];
        assert_eq!(layers(&[&restricted[..], &[("simulcast", "send q;h;é")]].concat()), ["h"]);
    }

    #[test]
    fn fifty_layers_are_an_error() {
        let names: Vec<String> = (0..50).map(|n| format!("r{n} send")).collect();
        let lines: Vec<_> = names.iter().map(|name| ("rid", name.as_str())).collect();
        assert_eq!(read(3, &attributes(&lines)), Err(SdpError::TooManyRids { section: 3 }));
    }

    proptest! {
        #[test]
        fn any_text_gives_few_distinct_declared_layers(
            rids in prop::collection::vec("[a-c ~,;]{0,4}( send)?", 0..SDP_RIDS_PER_SECTION_MAX),
            simulcast in "(send|recv)? ?[a-c~,; ]{0,40}",
        ) {
            let mut lines: Vec<_> = rids.iter().map(|rid| ("rid", rid.as_str())).collect();
            lines.push(("simulcast", &simulcast));
            let layers = layers(&lines);
            for (n, layer) in layers.iter().enumerate() {
                prop_assert!(rids.iter().any(|rid| rid.trim_start().starts_with(layer.as_str())));
                prop_assert!(!layers[..n].contains(layer));
            }
        }
    }
}
